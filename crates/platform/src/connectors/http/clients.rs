//! HTTP clients of the connectors, limited to permitted addresses.
//!
//! The clients connect only to permitted addresses of a name. Because a proxy resolves names itself,
//! each name is also checked before a request.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, ClientBuilder, Url, redirect};

use super::super::{ConnectorContext, ReadError};
use crate::HostOverride;
use crate::hosts::{AllowedHosts, OutOfReach};

/// Timeouts of a request with its response, and of opening a connection.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Environment variables that name a proxy.
pub(super) const PROXIES: [&str; 6] =
    ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];

/// Clients shared by all connectors.
#[derive(Debug, Clone)]
pub(in super::super) struct Clients {
    /// Connects to replacement servers, without a proxy.
    stand_ins: Client,
    others: Client,
}

impl Clients {
    pub(in super::super) fn new(
        stand_ins: &[HostOverride],
        hosts: AllowedHosts,
    ) -> Result<Self, reqwest::Error> {
        let direct = stand_ins
            .iter()
            .fold(builder(), |client, HostOverride { host, connect_to }| client.resolve(host, *connect_to));
        Ok(Self {
            stand_ins: direct.no_proxy().build()?,
            others: builder().dns_resolver(Arc::new(Resolver { hosts, proxies: proxies() })).build()?,
        })
    }
}

/// Returns the client for a URL, if its host is permitted.
pub(super) async fn of<'r>(reach: &'r ConnectorContext, url: &Url) -> Result<&'r Client, ReadError> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    if let Some(at) = reach.stand_in(host) {
        // Clients do not resolve literal addresses.
        return match host.parse::<IpAddr>() {
            Ok(address) if address != at.ip() => Err(ReadError::new(
                "--stand-in replaces an API by its host name, but \"base_url\" has an address",
            )),
            _ => Ok(&reach.clients.stand_ins),
        };
    }
    if reach.hosts == AllowedHosts::ExceptLocal {
        let port = url.port_or_known_default().unwrap_or_default();
        // The proxy may know names that cannot be resolved here.
        if reach.hosts.resolve(host, port).await.is_err_and(|error| OutOfReach::caused(&error)) {
            return Err(ReadError::new(OutOfReach.to_string()));
        }
    }
    Ok(&reach.clients.others)
}

/// Builder of a client.
///
/// Follows redirects within their origin only, so that credentials are not sent elsewhere.
fn builder() -> ClientBuilder {
    let within = redirect::Policy::custom(|attempt| {
        let same = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
        if same && attempt.previous().len() <= 5 { attempt.follow() } else { attempt.stop() }
    });
    Client::builder()
        .redirect(within)
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .referer(false)
        // Decompressed by the caller, because the client stops after the first gzip member.
        .no_gzip()
        .user_agent(concat!("wellspring/", env!("CARGO_PKG_VERSION")))
}

/// Resolver of names to permitted addresses.
struct Resolver {
    hosts: AllowedHosts,
    /// AllowedHosts of proxies in the environment, which are always permitted.
    proxies: Vec<String>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let is_proxy = self.proxies.iter().any(|proxy| proxy == name.as_str());
        let hosts = if is_proxy { AllowedHosts::All } else { self.hosts };
        Box::pin(async move {
            // Port 0 means the port of the URL.
            let found = hosts.resolve(name.as_str(), 0).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

fn proxies() -> Vec<String> {
    let host = |name: &str| {
        let value = std::env::var(name).ok()?;
        let url = Url::parse(&value).ok().filter(Url::has_host);
        url.or_else(|| Url::parse(&format!("http://{value}")).ok())?.host_str().map(str::to_owned)
    };
    PROXIES.into_iter().filter_map(host).collect()
}

#[cfg(test)]
mod tests {
    use reqwest::dns::Resolve as _;

    use super::Resolver;
    use crate::hosts::{AllowedHosts, OutOfReach};

    #[tokio::test]
    async fn a_connection_goes_to_no_address_that_may_not_be_reached() {
        let resolve = async |hosts, proxies: &[&str]| {
            let proxies = proxies.iter().map(|&proxy| proxy.to_owned()).collect();
            Resolver { hosts, proxies }.resolve("localhost".parse().unwrap()).await.map(Iterator::count)
        };
        assert!(resolve(AllowedHosts::All, &[]).await.unwrap() > 0);
        assert!(
            resolve(AllowedHosts::ExceptLocal, &["localhost"]).await.unwrap() > 0,
            "the environment names this proxy"
        );
        let refusal = resolve(AllowedHosts::ExceptLocal, &["proxy"]).await.unwrap_err();
        assert!(OutOfReach::caused(refusal.downcast_ref().unwrap()), "{refusal}");
    }
}
