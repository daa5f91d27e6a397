use super::TextError;

/// The longest glob: a host name has at most 255 bytes in Nova.
const PATTERN_BYTES_MAX: usize = 512;

/// A glob over host names: `cmp-0*`, `cmp-[0-4]?`, `{cmp,gpu}-01`.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    /// `None` for a plain name: most entries of a long list of hosts are, and a comparison is all they need.
    matcher: Option<globset::GlobMatcher>,
}

impl Pattern {
    pub fn parse(text: &str) -> Result<Self, TextError> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(TextError::new(format!("a glob may have {PATTERN_BYTES_MAX} bytes, this has {}", text.len())));
        }
        let matcher = if text.contains(['*', '?', '[', ']', '{', '}', '\\']) {
            let glob = globset::Glob::new(text).map_err(|error| {
                TextError::new(format!("not a glob: {}", error.kind()))
                    .help("write for instance `cmp-0*` or `cmp-[0-4]?`")
            })?;
            Some(glob.compile_matcher())
        } else {
            None
        };
        Ok(Self { text: text.to_owned(), matcher })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn matches(&self, name: &str) -> bool {
        self.matcher.as_ref().map_or_else(|| self.text == name, |matcher| matcher.is_match(name))
    }
}
