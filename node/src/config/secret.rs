//! Secrets are not shown: not in faults, whatever somebody wrote where, and not in what is in force.

/// What a fault may show of a value.
pub(super) fn hidden(key: &str, shown: &str) -> String {
    let name = key.rsplit('.').next().unwrap_or_default().to_lowercase();
    let is_secret = ["password", "secret", "token"].iter().any(|word| name.contains(word));
    if is_secret && !name.ends_with("_file") {
        return "***".to_owned();
    }
    // Nobody knows where a password ends that is not written as it must be: all before the last '@' is kept back.
    match (shown.find("://"), shown.rfind('@')) {
        (Some(begin), Some(end)) if begin + 3 < end => format!("{}***{}", &shown[..begin + 3], &shown[end..]),
        _ => shown.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_kept_back() {
        let text = r#"["redis://ann:hunter2@a", "redis://bob:hun/ter2@b"]"#;
        assert_eq!(hidden("journal.redis.urls", text), r#"["redis://***@b"]"#);
        assert_eq!(hidden("journal.redis.password", "\"hunter2\""), "***");
        assert_eq!(hidden("journal.redis.password_file", "7"), "7");
        assert_eq!(hidden("journal.redis.urls", "\"redis://a\""), "\"redis://a\"");
    }
}
