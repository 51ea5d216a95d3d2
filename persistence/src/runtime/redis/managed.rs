//! Managed services that are known to speak TLS only, by the names of their hosts.
//!
//! Pure. A name is here only if it cannot stand for a server without TLS: Azure closes the plain port unless
//! somebody opens it by hand, and Amazon puts the kind of a server in front of its name only where encryption
//! in transit is on (`master.…`, `replica.…`, `clustercfg.…`, against `….clustercfg.…` without it).

/// Domains of which every server speaks TLS.
const ALWAYS: [&str; 5] = [
    ".redis.cache.windows.net",
    ".redis.cache.chinacloudapi.cn",
    ".redis.cache.usgovcloudapi.net",
    ".redisenterprise.cache.azure.net",
    ".redis.azure.net",
];

/// Whether TLS is to be used with this host, whoever says nothing about it.
pub(super) fn speaks_tls(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    ALWAYS.iter().any(|domain| host.ends_with(domain)) || encrypted_at_amazon(&host)
}

fn encrypted_at_amazon(host: &str) -> bool {
    let domain = [".cache.amazonaws.com", ".cache.amazonaws.com.cn"];
    let Some(name) = domain.iter().find_map(|domain| host.strip_suffix(domain)) else { return false };
    let labels: Vec<_> = name.split('.').collect();
    match labels.as_slice() {
        // In the order kind, name, account, region.
        ["master" | "replica" | "clustercfg", _, _, ..] => true,
        // In the order name, "serverless", region.
        [_, "serverless", _] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_that_cannot_be_without_tls_are_known() {
        for host in [
            "shop.redis.cache.windows.net",
            "Shop.Redis.Cache.Windows.Net.",
            "shop.germanywestcentral.redis.azure.net",
            "shop.westeurope.redisenterprise.cache.azure.net",
            "master.shop.abc123.euc1.cache.amazonaws.com",
            "clustercfg.shop.abc123.euc1.cache.amazonaws.com",
            "shop-xyz.serverless.euc1.cache.amazonaws.com",
        ] {
            assert!(speaks_tls(host), "{host}");
        }
        for host in [
            "localhost",
            "redis.cache.windows.net.example.org",
            "shop.abc123.clustercfg.euc1.cache.amazonaws.com",
            "shop.abc123.ng.0001.euc1.cache.amazonaws.com",
            "shop-001.abc123.0001.euc1.cache.amazonaws.com",
        ] {
            assert!(!speaks_tls(host), "{host}");
        }
    }
}
