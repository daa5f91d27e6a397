use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use secrecy::ExposeSecret;

use super::{ApplicationCredential, CloudConfig, Credentials, Domain, Environment, Identity, Scope};
use crate::cloud::CloudError;

const FILE: &str = "/home/op/.config/openstack/clouds.yaml";

/// Loads from files that exist only here.
fn load(cloud: Option<&str>, files: &[(&str, &str)], vars: &[(&str, &str)]) -> Result<CloudConfig, CloudError> {
    let files: BTreeMap<PathBuf, String> =
        files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect();
    let read = move |path: &Path| match files.get(path) {
        Some(text) if text == "DENIED" => Err(Error::from(ErrorKind::PermissionDenied)),
        Some(text) => Ok(text.clone().into_bytes()),
        None => Err(Error::from(ErrorKind::NotFound)),
    };
    let environment = Environment {
        vars: vars.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        home: Some(PathBuf::from("/home/op")),
        working_dir: PathBuf::from("/srv/here"),
        read: &read,
    };
    CloudConfig::load(cloud, &environment)
}

fn ok(cloud: Option<&str>, files: &[(&str, &str)], vars: &[(&str, &str)]) -> CloudConfig {
    load(cloud, files, vars).unwrap_or_else(|error| panic!("{error}"))
}

fn message(cloud: Option<&str>, files: &[(&str, &str)], vars: &[(&str, &str)]) -> String {
    load(cloud, files, vars).unwrap_err().kind.to_string()
}

/// A clouds.yaml of one cloud, `prod`, with these lines in it besides.
fn prod(auth: &str, more: &str) -> String {
    format!(
        "clouds:\n  prod:\n    auth:\n      auth_url: https://keystone.example:5000/v3\n      username: op\n      password: s3cret\n      project_name: admin\n      user_domain_name: Default\n      project_domain_name: Default\n{auth}{more}"
    )
}

#[test]
fn a_usual_entry_says_who_where_and_how() {
    let config = ok(None, &[(FILE, &prod("", "    region_name: one\n"))], &[]);
    assert_eq!(config.name, "prod");
    assert_eq!(config.auth_url.as_str(), "https://keystone.example:5000/");
    assert_eq!(config.region.as_deref(), Some("one"));
    assert_eq!(config.interfaces, ["public"]);
    assert!(config.tls.verify && config.warnings.is_empty(), "{:?}", config.warnings);
    let default = Domain::Name("Default".to_owned());
    let project = Identity::Named { name: "admin".to_owned(), domain: default.clone() };
    assert_eq!(config.scope, Scope::Project(project));
    let Credentials::Password { user, password } = config.credentials else { panic!("not a password") };
    assert_eq!(user, Identity::Named { name: "op".to_owned(), domain: default });
    assert_eq!(password.expose_secret(), "s3cret");
}

#[test]
fn the_version_at_the_end_of_auth_url_is_dropped() {
    for (given, kept) in [
        ("https://k/v3", "https://k/"),
        ("https://k/v3/", "https://k/"),
        ("https://k:5000/v2.0", "https://k:5000/"),
        ("https://k/identity", "https://k/identity"),
        ("https://k/identity/v3", "https://k/identity"),
    ] {
        let config = ok(None, &[], &[("OS_AUTH_URL", given), ("OS_USER_ID", "u"), ("OS_PASSWORD", "p")]);
        assert_eq!(config.auth_url.as_str(), kept);
    }
}

#[test]
fn the_first_file_of_the_search_list_is_used_and_no_other() {
    let named =
        |name: &str| format!("clouds: {{{name}: {{auth: {{auth_url: 'https://k', user_id: u, password: p}}}}}}");
    let paths = [
        "/else/c.yaml",
        "/srv/here/clouds.yaml",
        "/srv/here/clouds.yml",
        "/srv/here/clouds.json",
        FILE,
        "/etc/xdg/openstack/clouds.yaml",
        "/etc/openstack/clouds.yaml",
    ];
    let contents: Vec<String> = (0..paths.len()).map(|at| named(&format!("cloud{at}"))).collect();
    for first in 0..paths.len() {
        let files: Vec<(&str, &str)> = (first..paths.len()).map(|at| (paths[at], contents[at].as_str())).collect();
        let config = ok(None, &files, &[("OS_CLIENT_CONFIG_FILE", "/else/c.yaml")]);
        assert_eq!(config.name, format!("cloud{first}"));
    }
}

#[test]
fn a_file_that_may_not_be_read_is_passed_over_aloud_and_a_broken_one_is_an_error() {
    let config = ok(None, &[("/srv/here/clouds.yaml", "DENIED"), (FILE, &prod("", ""))], &[]);
    assert!(config.warnings[0].starts_with("/srv/here/clouds.yaml may not be read"), "{:?}", config.warnings);
    let broken = message(None, &[("/srv/here/clouds.yaml", "clouds: [}"), (FILE, &prod("", ""))], &[]);
    assert!(broken.starts_with("/srv/here/clouds.yaml: is not YAML"), "{broken}");
}

#[test]
fn secure_yaml_is_laid_over_and_profiles_under() {
    let clouds =
        "clouds:\n  prod:\n    profile: house\n    auth: {username: op, project_name: admin, domain_id: default}\n";
    let secure = "clouds:\n  prod:\n    auth: {password: hidden}\n";
    let public = "public-clouds:\n  house:\n    auth: {auth_url: 'https://k/v3', username: nobody}\n    region_name: one\n    interface: internal\n";
    let files = [
        (FILE, clouds),
        ("/home/op/.config/openstack/secure.yaml", secure),
        ("/etc/openstack/clouds-public.yaml", public),
    ];
    let config = ok(None, &files, &[]);
    assert_eq!((config.region.as_deref(), config.interfaces[0].as_str()), (Some("one"), "internal"));
    let Credentials::Password { user, password } = config.credentials else { panic!("not a password") };
    let domain = Domain::Id("default".to_owned());
    assert_eq!(user, Identity::Named { name: "op".to_owned(), domain: domain.clone() });
    assert_eq!(password.expose_secret(), "hidden");
    assert_eq!(config.scope, Scope::Project(Identity::Named { name: "admin".to_owned(), domain }));
}

#[test]
fn the_cloud_is_chosen_by_argument_then_os_cloud_then_environment_then_alone() {
    let two = "clouds:\n  a: &a {auth: {auth_url: 'https://k', user_id: u, password: p}}\n  b: *a\n";
    let env = [("OS_AUTH_URL", "https://e"), ("OS_USER_ID", "u"), ("OS_PASSWORD", "p")];
    let with = |more: (&'static str, &'static str)| [&env[..], &[more]].concat();
    assert_eq!(ok(Some("a"), &[(FILE, two)], &with(("OS_CLOUD", "b"))).name, "a");
    let by_os_cloud = ok(None, &[(FILE, two)], &with(("OS_CLOUD", "b")));
    assert_eq!(by_os_cloud.name, "b");
    assert!(by_os_cloud.warnings[0].contains("are not used"), "{:?}", by_os_cloud.warnings);
    assert_eq!(ok(None, &[(FILE, two)], &env).name, "envvars");
    assert_eq!(ok(None, &[(FILE, two)], &with(("OS_CLOUD_NAME", "mine"))).name, "mine");
    assert_eq!(ok(None, &[(FILE, &prod("", ""))], &[("OS_REGION_NAME", "one"), ("OS_LOG_DIR", "/x")]).name, "prod");
}

#[test]
fn keys_outside_auth_win_and_old_names_are_understood() {
    let text = "clouds:\n  x:\n    user-name: outer\n    password: 12345\n    tenant_name: t\n    endpoint_type: internalURL\n    auth: {auth-url: 'https://k', username: inner, user_domain_id: d, project_domain_id: d}\n";
    let config = ok(None, &[(FILE, text)], &[]);
    let Credentials::Password { user, password } = config.credentials else { panic!("not a password") };
    let domain = Domain::Id("d".to_owned());
    // `user_name` is an alias only where there is no `username`.
    assert_eq!(user, Identity::Named { name: "inner".to_owned(), domain: domain.clone() });
    assert_eq!(password.expose_secret(), "12345");
    assert_eq!(config.scope, Scope::Project(Identity::Named { name: "t".to_owned(), domain }));
    assert_eq!(config.interfaces, ["internal"]);
}

#[test]
fn every_supported_kind_of_credentials_is_told_by_what_is_given() {
    let vars = |more: &[(&'static str, &'static str)]| [&[("OS_AUTH_URL", "https://k")][..], more].concat();
    let secret = [("OS_APPLICATION_CREDENTIAL_SECRET", "s"), ("OS_APPLICATION_CREDENTIAL_ID", "i")];
    for kind in [&[][..], &[("OS_AUTH_TYPE", "v3applicationcredential")][..]] {
        let config = ok(None, &[], &vars(&[&secret[..], kind, &[("OS_PROJECT_ID", "p")]].concat()));
        assert!(matches!(
            &config.credentials,
            Credentials::ApplicationCredential { which: ApplicationCredential::Id(id), .. } if id == "i"
        ));
        // The project is baked in, and Keystone refuses a scope beside it.
        assert_eq!(config.scope, Scope::Unsaid);
    }
    let token = ok(None, &[], &vars(&[("OS_TOKEN", "t"), ("OS_PROJECT_ID", "p")]));
    assert!(matches!(token.credentials, Credentials::Token(_)));
    assert_eq!(token.scope, Scope::Project(Identity::Id("p".to_owned())));
    let system = vars(&[("OS_USER_ID", "u"), ("OS_PASSWORD", "p"), ("OS_SYSTEM_SCOPE", "all")]);
    let system = ok(None, &[], &system);
    assert_eq!(system.scope, Scope::System);
    assert!(system.warnings.iter().any(|warning| warning.contains("scoped to the system")));
}

#[test]
fn a_region_is_chosen_with_its_values_and_an_unknown_one_is_named() {
    let more = "    regions:\n      - name: one\n        values: {compute_endpoint_override: 'https://one/v2.1'}\n      - two\n";
    let text = prod("", more);
    let one = ok(None, &[(FILE, &text)], &[]);
    assert_eq!(one.region.as_deref(), Some("one"));
    assert_eq!(one.compute_endpoint.as_ref().map(|url| url.as_str()), Some("https://one/v2.1"));
    let two = ok(None, &[(FILE, &text)], &[("OS_REGION_NAME", "two")]);
    assert_eq!((two.region.as_deref(), two.compute_endpoint), (Some("two"), None));
    let wrong = message(None, &[(FILE, &text)], &[("OS_REGION_NAME", "three")]);
    assert_eq!(wrong, format!("region `three` is not one of cloud `prod` in {FILE}; it has one, two"));
}

#[test]
fn certificates_are_read_and_verification_is_only_off_when_the_entry_says_so() {
    let more = "    cacert: ca.pem\n    cert: ~/me.pem\n    key: /me.key\n    api_timeout: 30\n";
    let text = prod("", more);
    let files = [(FILE, text.as_str()), ("/srv/here/ca.pem", "CA"), ("/home/op/me.pem", "CERT"), ("/me.key", "KEY")];
    let config = ok(None, &files, &[]);
    assert_eq!(config.tls.ca.as_ref().map(|pem| pem.content.expose_secret()), Some("CA"));
    assert_eq!(config.tls.identity.as_ref().map(|pem| pem.content.expose_secret()), Some("CERT\nKEY"));
    assert_eq!(config.timeout, Some(Duration::from_secs(30)));
    let missing = message(None, &files[..1], &[]);
    assert!(missing.starts_with(&format!("`cacert` of cloud `prod` of {FILE} names /srv/here/ca.pem")), "{missing}");
    for more in ["    verify: false\n", "    insecure: 'True'\n", "    verify: no\n    cacert: nowhere.pem\n"] {
        let config = ok(None, &[(FILE, &prod("", more))], &[]);
        assert!(!config.tls.verify);
        assert!(config.warnings[0].contains("does not verify"), "{:?}", config.warnings);
    }
}

#[test]
fn every_mistake_names_its_place_and_its_remedy() {
    let text = prod("", "");
    let place = format!("cloud `prod` of {FILE}");
    let none = "no clouds.yaml, .yml or .json was found in /srv/here, ";
    for (cloud, file, vars, expected) in [
        (
            Some("prdo"),
            text.clone(),
            vec![],
            format!("cloud `prdo` is not in {FILE} (which has prod); did you mean `prod`?"),
        ),
        (Some("x"), text.clone(), vec![], format!("cloud `x` is not in {FILE} (which has prod)")),
        (
            None,
            format!("{text}  two: {{}}\n"),
            vec![],
            format!("{FILE} has several clouds (prod, two); choose one with --cloud or OS_CLOUD"),
        ),
        (None, text.replace("auth_url", "url"), vec![], format!("`auth_url` of {place} is missing")),
        (
            None,
            text.replace("https:", "ftp:"),
            vec![],
            format!("`auth_url` of {place} must begin with http:// or https://"),
        ),
        (
            None,
            text.replace("https://", "https://u:p@"),
            vec![],
            format!("`auth_url` of {place} must hold no user name or password; they belong in `auth`"),
        ),
        (
            None,
            text.replace("password", "pass"),
            vec![],
            format!("`password` of {place} is missing (auth_type is password)"),
        ),
        (
            None,
            text.replace("username", "user"),
            vec![],
            format!("`username` of {place} is missing, and so is `user_id`"),
        ),
        (
            None,
            prod("", "    auth_type: v3oidcpassword\n"),
            vec![],
            format!(
                "`auth_type` of {place} is `v3oidcpassword`, which is not supported; use password, v3applicationcredential, or token with one from `openstack token issue`"
            ),
        ),
        (None, prod("", "    verify: maybe\n"), vec![], format!("`verify` of {place} must be true or false")),
        (
            None,
            prod("", "    api_timeout: -1\n"),
            vec![],
            format!("`api_timeout` of {place} must be a number of seconds above 0"),
        ),
        (None, prod("", "    key: k\n"), vec![], format!("`key` of {place} needs `cert` beside it")),
        (None, prod("      trust_id: t\n", ""), vec![], format!("`trust_id` of {place} is not supported")),
        (None, "clouds: [a]".to_owned(), vec![], format!("{FILE}: `clouds` must be a mapping of names to clouds")),
        (None, "clouds: {a: 1}".to_owned(), vec![], format!("{FILE}: `clouds.a` must be a mapping")),
        (None, "clouds: {a: {auth: 1}}".to_owned(), vec![], format!("`auth` of cloud `a` of {FILE} must be a mapping")),
        (None, "- a".to_owned(), vec![], format!("{FILE}: must be a mapping with the key `clouds`")),
        (None, String::new(), vec![], format!("{FILE} has no clouds, and OS_AUTH_URL is not set")),
        (
            None,
            text.clone(),
            vec![("OS_AUTH_URL", "https://k"), ("OS_CLOUD_NAME", "prod")],
            format!(
                "{FILE} has a cloud named `prod`, and the OS_* variables make one of that name too; rename it, or set OS_CLOUD_NAME to another name"
            ),
        ),
    ] {
        assert_eq!(message(cloud, &[(FILE, &file)], &vars), expected);
    }
    let nothing = message(None, &[], &[]);
    assert!(nothing.starts_with(none) && nothing.ends_with("and OS_AUTH_URL is not set"), "{nothing}");
}

#[test]
fn what_is_doubtful_is_said() {
    let text = prod("", "    compute_api_version: '2.1'\n").replace("https:", "http:");
    let text = text.replace("      user_domain_name: Default\n", "");
    let config = ok(None, &[(FILE, &text)], &[]);
    let warnings = config.warnings.join("\n");
    for part in ["the domain `default` is taken", "`compute_api_version`", "without encryption"] {
        assert!(warnings.contains(part), "{part} in {warnings}");
    }
}

proptest! {
    /// Wherever a secret stands, and whatever else is wrong, neither `Debug` nor an error shows it.
    #[test]
    fn no_secret_is_ever_shown(
        secret in "[A-Za-z0-9!#%&*_+-]{12,24}",
        key in prop::sample::select(vec!["password", "token", "application_credential_secret"]),
        inside in any::<bool>(),
        broken in prop::sample::select(vec!["", "    verify: maybe\n", "    auth_type: wrong\n", "    api_timeout: x\n", "  bad: 1\n"]),
    ) {
        let (auth, more) = if inside { (format!("      {key}: '{secret}'\n"), String::new()) }
            else { (String::new(), format!("    {key}: '{secret}'\n")) };
        let base = prod(&auth, &format!("{more}{broken}")).replace("      password: s3cret\n", "");
        let shown = match load(None, &[(FILE, &base)], &[]) {
            Ok(config) => format!("{config:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        prop_assert!(!shown.contains(&secret), "{}", shown);
        let var = format!("OS_{}", key.to_ascii_uppercase());
        let vars = [("OS_AUTH_URL", "https://k"), ("OS_USER_ID", "u"), ("OS_APPLICATION_CREDENTIAL_ID", "i"), (var.as_str(), secret.as_str())];
        let config = ok(None, &[], &vars);
        let shown = format!("{config:?}");
        prop_assert!(!shown.contains(&secret), "{}", shown);
    }
}
