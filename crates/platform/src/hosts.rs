//! Hosts that connectors may reach.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr};

/// Hosts that connectors may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AllowedHosts {
    All,
    /// All but this host.
    ///
    /// The platform serves other machines, which must not reach services that listen on this host
    /// only.
    ExceptLocal,
}

/// Refusal of a host with only local or link-local addresses.
#[derive(Debug, thiserror::Error)]
#[error(
    "this host itself and link-local addresses are not reached while the platform answers other hosts; start it with \
     --stand-in HOST=ADDRESS to permit one"
)]
pub(super) struct OutOfReach;

impl AllowedHosts {
    pub(super) fn may_reach(self, address: IpAddr) -> bool {
        let own = match address.to_canonical() {
            IpAddr::V4(address) => {
                address.is_loopback() || address.is_link_local() || address.is_unspecified()
            }
            IpAddr::V6(address) => {
                address.is_loopback() || address.is_unicast_link_local() || address.is_unspecified()
            }
        };
        self == Self::All || !own
    }

    /// Resolves a name and returns the permitted addresses.
    pub(super) async fn resolve(self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
        let found: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
        let permitted: Vec<_> =
            found.iter().filter(|address| self.may_reach(address.ip())).copied().collect();
        if permitted.is_empty() && !found.is_empty() {
            return Err(Error::new(ErrorKind::PermissionDenied, OutOfReach));
        }
        Ok(permitted)
    }
}

impl OutOfReach {
    /// Returns true if an error of [`AllowedHosts::resolve`] is this refusal.
    pub(super) fn caused(error: &Error) -> bool {
        error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Self>)
    }
}

#[cfg(test)]
mod tests {
    use super::AllowedHosts;

    #[test]
    fn others_do_not_reach_what_this_host_keeps_to_itself() {
        for (address, own) in [
            ("127.0.0.1", true),
            ("127.8.9.1", true),
            ("169.254.169.254", true),
            ("0.0.0.0", true),
            ("::1", true),
            ("::", true),
            ("fe80::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("192.0.2.1", false),
            ("fd00::1", false),
            ("2001:db8::1", false),
        ] {
            let address = address.parse().expect("an address");
            assert!(AllowedHosts::All.may_reach(address));
            assert_eq!(AllowedHosts::ExceptLocal.may_reach(address), !own, "{address}");
        }
    }
}
