//! Delivery to one webhook: address, format and retries.

use super::changes::{Notification, NotificationEvent};
use crate::observe::metrics::Metrics;
use backon::{ExponentialBuilder, Retryable as _};
use reqwest::{Client, StatusCode, Url};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// First retry delay, doubled each time: half a minute in all with [`MAX_ATTEMPTS`].
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(500);
const MAX_ATTEMPTS: usize = 7;

/// Resolves the address before every attempt; a secret, as it permits posting.
pub type Address = Arc<dyn Fn() -> Result<SecretString, String> + Send + Sync>;

pub struct Webhook {
    pub address: Address,
    pub format: PayloadFormat,
    /// Kinds of notification to send.
    pub events: Vec<NotificationEvent>,
}

/// Format of the request body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PayloadFormat {
    #[default]
    Json,
    /// A message for Slack and compatible services.
    Slack,
}

/// The reason why a notification was not delivered; never contains the address.
struct Undelivered {
    reason: String,
    may_retry: bool,
}

impl Webhook {
    /// Checks that the address may be used.
    pub fn check(&self) -> Result<(), String> {
        url(&(self.address)()?).map(drop)
    }

    /// Delivers queued notifications one after the other.
    pub(super) async fn deliver(self, mut waiting: Receiver<Arc<Notification>>, metrics: Arc<Metrics>) {
        while let Some(notice) = waiting.recv().await {
            let body = self.format.body(&notice);
            let retry =
                ExponentialBuilder::new().with_min_delay(FIRST_RETRY_DELAY).with_max_times(MAX_ATTEMPTS - 1);
            let sent = (|| self.send(&body)).retry(retry).when(|failure| failure.may_retry).await;
            match sent {
                Ok(()) => metrics.record_notification("sent"),
                Err(failure) => {
                    metrics.record_notification("failed");
                    tracing::warn!("a notice to a webhook was given up: {}", failure.reason);
                }
            }
        }
    }

    async fn send(&self, body: &Value) -> Result<(), Undelivered> {
        let for_good = |why| Undelivered { reason: why, may_retry: false };
        let url = (self.address)().and_then(|address| url(&address)).map_err(for_good)?;
        let builder = Client::builder()
            .user_agent(concat!("wellspring/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .timeout(ATTEMPT_TIMEOUT);
        // Local requests need no proxy and no certificates.
        let builder = if url.scheme() == "http" { builder.no_proxy().tls_certs_only([]) } else { builder };
        let client = builder.build().map_err(|error| for_good(error.without_url().to_string()))?;
        let answer = client.post(url).json(body).send().await;
        match answer.map(|answer| answer.status()) {
            Ok(status) if status.is_success() => Ok(()),
            Ok(status) => {
                let again = status.is_server_error()
                    || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
                Err(Undelivered { reason: format!("it answers HTTP {}", status.as_u16()), may_retry: again })
            }
            Err(error) => Err(Undelivered { reason: error.without_url().to_string(), may_retry: true }),
        }
    }
}

impl PayloadFormat {
    fn body(self, notice: &Notification) -> Value {
        let text = format!("Wellspring, {}: {}", notice.event.label(), notice.message);
        match self {
            Self::Slack => json!({ "text": slack(&text) }),
            Self::Json => json!({
                "format_version": 1,
                "event": notice.event,
                "at": notice.at,
                "workspace": notice.workspace,
                "workspace_id": notice.workspace_ref.as_ref().map(|workspace| workspace.workspace.display_text()),
                "scope": notice.workspace_ref.as_ref().map(|workspace| &workspace.scope),
                "sources": notice.sources,
                "more": notice.more,
                "message": notice.message,
                "text": text,
            }),
        }
    }
}

/// Escapes text for Slack; otherwise a name could mention people or form a link.
fn slack(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn url(address: &SecretString) -> Result<Url, String> {
    let url = Url::parse(address.expose_secret().trim())
        .map_err(|_| "the webhook's address is no URL".to_owned())?;
    let host = url.host_str().unwrap_or_default();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let local = host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match url.scheme() {
        "https" => Ok(url),
        "http" if local => Ok(url),
        _ => Err("a webhook's address begins with https://; http:// is for this machine only".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_and_the_address_is_never_repeated() {
        let check = |text: &str| url(&SecretString::from(text));
        for good in [
            "https://hooks.example.com/T0/s3cret",
            "http://127.0.0.1:80/x",
            "http://localhost/",
            "http://[::1]:1/",
        ] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "http://hooks.example.com/s3cret",
            "ftp://127.0.0.1/s3cret",
            "s3cret",
            "",
            "http://127.0.0.1.evil.example/s3cret",
        ] {
            assert!(!check(bad).unwrap_err().contains("s3cret"), "{bad}");
        }
    }

    #[test]
    fn a_name_mentions_nobody_and_passes_for_no_link() {
        assert_eq!(slack("<!channel> & <http://x|y>"), "&lt;!channel&gt; &amp; &lt;http://x|y&gt;");
    }
}
