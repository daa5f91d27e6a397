//! The text that furlough writes as a compute service's `disabled_reason`: it carries the run's id, so that two runs
//! on machines that share nothing but the cloud still see each other.

const PREFIX: &str = "furlough ";

/// `disabled_reason` holds 255 characters (nova schemas/services.py). Counted in bytes here, which is never more.
const MAX_REASON_BYTES: usize = 255;

/// `furlough <run>: <plan name>`, cut to what Nova takes. A run id must hold neither a colon nor white space.
pub fn disabled_reason(run: &str, plan_name: &str) -> String {
    let mut text = format!("{PREFIX}{run}: {plan_name}");
    let mut end = text.len().min(MAX_REASON_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text.truncate(text.trim_end().len());
    text
}

/// The id of the run that wrote this reason, or `None` when furlough did not.
pub fn run_of_reason(reason: &str) -> Option<&str> {
    let (run, _) = reason.strip_prefix(PREFIX)?.split_once(':')?;
    (!run.is_empty() && !run.contains(char::is_whitespace)).then_some(run)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_reason_names_run_and_plan() {
        assert_eq!(disabled_reason("0198-ab", "kernel update"), "furlough 0198-ab: kernel update");
        assert_eq!(run_of_reason("furlough 0198-ab: kernel update"), Some("0198-ab"));
        assert_eq!(run_of_reason(&disabled_reason("r1", "")), Some("r1"));
    }

    #[test]
    fn reasons_of_others_are_not_taken_for_ours() {
        for other in ["", "furlough", "furlough ", "furlough : x", "furlough all of rack 3: dust", "AUTO: libvirt"] {
            assert_eq!(run_of_reason(other), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_plan_name_fits_and_the_run_is_found_again(run in "[0-9a-f-]{1,36}", name in "\\PC{0,400}") {
            let reason = disabled_reason(&run, &name);
            prop_assert!(reason.len() <= MAX_REASON_BYTES);
            prop_assert_eq!(run_of_reason(&reason), Some(run.as_str()));
        }
    }
}
