//! Errors of requests to the platform, classified by the permitted reaction.

use crate::model::ErrorKind;
use std::fmt;
use std::time::Duration;
use thiserror::Error;

/// Endpoints of the Data API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// No endpoint; the error occurred while creating the client.
    Setup,
    /// `GET …/list`
    List,
    /// `GET …/list` without a workspace, as the account dialect has it.
    AccountList,
    /// `POST …/infer-schema` of an account, which opens a connection and stores nothing.
    InferSchema,
    /// `POST …/test-connection`
    TestConnection,
    /// `GET …/schema`
    Schema,
    /// `POST …/connect`
    Connect,
    /// `POST …/cleanup`
    Cleanup,
    /// `POST …/sync`
    Sync,
}

impl Endpoint {
    /// Returns the last segment of the endpoint's path.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::List => "list",
            Self::AccountList => "account-list",
            Self::InferSchema => "infer-schema",
            Self::TestConnection => "test-connection",
            Self::Schema => "schema",
            Self::Connect => "connect",
            Self::Cleanup => "cleanup",
            Self::Sync => "sync",
        }
    }

    /// Returns true if a request to this endpoint changes the platform.
    pub fn is_write(self) -> bool {
        matches!(self, Self::Connect | Self::Cleanup | Self::Sync)
    }

    fn attempt(self) -> &'static str {
        match self {
            Self::Setup => "prepare the client for",
            Self::List | Self::AccountList => "list the sources of",
            Self::InferSchema | Self::TestConnection => "test a connection in",
            Self::Schema => "read a schema in",
            Self::Connect => "connect sources in",
            Self::Cleanup => "clean up sources in",
            Self::Sync => "sync sources of",
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A request that did not succeed.
///
/// Its texts are safe to show: limited in length, control characters escaped, no sent secrets.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", self.sentence())]
pub struct RemoteError {
    pub endpoint: Endpoint,
    /// Workspace or workspace of the operation, or the platform's URL.
    pub on: String,
    pub kind: RemoteErrorKind,
}

/// Kind of failure of a request.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RemoteErrorKind {
    /// Not sent; the client itself rejected the request.
    #[error("nothing was sent: {0}")]
    NotSent(String),
    /// Not sent; the connection could not be opened.
    ///
    /// Contains address and reason: `http://host:1 cannot be reached: connection refused`.
    #[error("{0}")]
    Unreachable(String),
    /// 429, or 503 with `Retry-After` except for sync; the request was not carried out.
    ///
    /// For a write only in the platform's own envelope: a gateway may answer so after it let the write
    /// through.
    #[error("the platform is busy{}{}", requested_wait(*.retry_after), after_colon(.message))]
    Throttled {
        /// Wait requested by the platform, at most five minutes.
        retry_after: Option<Duration>,
        message: String,
    },
    /// Sent, but no complete response arrived (timeout, reset).
    ///
    /// A write may have been carried out.
    #[error("no complete answer came: {0}")]
    NoResponse(String),
    #[error("the token (PMTX_TOKEN, or `token` in the host file) cannot be read: {0}")]
    NoToken(String),
    /// 401, even after reading the token again.
    #[error("the token was not accepted{}", after_colon(.0))]
    Unauthorized(String),
    /// 403 for a read.
    ///
    /// 403 for a write may come from a gateway and is [`Self::Failed`].
    #[error("the token gives no access here{}", after_colon(.0))]
    Forbidden(String),
    /// 409, or `status: "conflict"`.
    #[error("the platform reports a conflict{}", after_colon(.0))]
    Conflict(String),
    /// Any other 4xx, or a 2xx whose envelope reports an error.
    #[error("the platform refused (HTTP {status}){}", after_colon(.message))]
    Refused { status: u16, message: String },
    /// 5xx, or a response to a write that may come from a gateway.
    ///
    /// That is 403, 413, 425, 499, 429 without the platform's envelope, or any 4xx without JSON. The write
    /// may have been carried out.
    #[error("{} (HTTP {status}){}", failure(*.status), after_colon(.message))]
    Failed { status: u16, message: String },
    /// A 2xx response that violates the contract.
    #[error("the response does not match the Data API: {0}")]
    Malformed(String),
    /// A `list` response that may be incomplete.
    #[error("the list seems to be incomplete: {0}")]
    Partial(String),
    #[error("the response is larger than {limit} bytes")]
    TooLarge {
        /// Limit in bytes after decompression.
        limit: usize,
    },
    /// The list of a workspace is missing, and the list of the whole account is there.
    #[error("{0} has no workspaces: the platform speaks the account dialect of the API")]
    AccountDialect(String),
    /// The list of an account is missing.
    #[error("{0} has no accounts: nothing there answers like the account dialect of the API")]
    NoAccount(String),
    #[error("the platform redirects, which is not followed: {0}")]
    Redirected(String),
}

/// Problem with the token; until it is fixed, every request fails.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenTrouble {
    #[error("the platform refuses the token; renew it")]
    Refused,
    /// There is no token to send; contains the reason.
    #[error("{0}")]
    Unreadable(String),
}

impl TokenTrouble {
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Refused => ErrorKind::Auth,
            Self::Unreadable(_) => ErrorKind::Token,
        }
    }
}

impl RemoteError {
    /// Returns the problem with the token, if that is the reason.
    pub fn token_trouble(&self) -> Option<TokenTrouble> {
        match &self.kind {
            RemoteErrorKind::Unauthorized(_) => Some(TokenTrouble::Refused),
            RemoteErrorKind::NoToken(_) => Some(TokenTrouble::Unreadable(self.kind.to_string())),
            _ => None,
        }
    }

    /// Returns true if a write may have been carried out despite the error.
    ///
    /// The caller must then list before sending anything again.
    pub fn is_outcome_unknown(&self) -> bool {
        self.endpoint.is_write()
            && matches!(
                self.kind,
                RemoteErrorKind::NoResponse(_)
                    | RemoteErrorKind::Failed { .. }
                    | RemoteErrorKind::Malformed(_)
                    | RemoteErrorKind::Partial(_)
                    | RemoteErrorKind::TooLarge { .. }
            )
    }

    /// Returns true if there is no such path or method (404, 405).
    pub fn is_missing_endpoint(&self) -> bool {
        matches!(self.kind, RemoteErrorKind::Refused { status: 404 | 405, .. })
    }

    /// Returns true if the token is the reason: rejected (401) or unreadable.
    ///
    /// Every other request to this platform will fail too.
    pub fn is_auth(&self) -> bool {
        matches!(self.kind, RemoteErrorKind::Unauthorized(_) | RemoteErrorKind::NoToken(_))
    }

    /// Describes the failure of the platform as a whole, if that is the likely reason.
    pub fn outage(&self) -> Option<String> {
        let is_outage = self.is_auth()
            || matches!(
                self.kind,
                RemoteErrorKind::Unreachable(_)
                    | RemoteErrorKind::NoResponse(_)
                    | RemoteErrorKind::Throttled { .. }
                    | RemoteErrorKind::Failed { .. }
            );
        if is_outage { Some(self.kind.to_string()) } else { None }
    }

    fn sentence(&self) -> String {
        if let (Endpoint::Setup, RemoteErrorKind::NotSent(why)) = (self.endpoint, &self.kind) {
            return format!("cannot use {}: {why}", self.on);
        }
        format!("could not {} {}: {}; {}", self.endpoint.attempt(), self.on, self.kind, self.advice())
    }

    fn advice(&self) -> &'static str {
        if self.is_outcome_unknown() {
            return "it may have been carried out; run `wellspring plan` before trying again";
        }
        match self.kind {
            RemoteErrorKind::NotSent(_) | RemoteErrorKind::Unreachable(_) => {
                "check the platform's URL and the network"
            }
            RemoteErrorKind::Throttled { .. } => "it was not carried out: try again later",
            RemoteErrorKind::NoResponse(_) | RemoteErrorKind::Failed { .. } => "try again later",
            RemoteErrorKind::NoToken(_) => "make it readable",
            RemoteErrorKind::Unauthorized(_) => "renew the token (PMTX_TOKEN, or `token` in the host file)",
            RemoteErrorKind::Forbidden(_) => "ask for access to this workspace and scope",
            RemoteErrorKind::Conflict(_) => "the name is already taken; see `wellspring plan`",
            RemoteErrorKind::Refused { status: 404 | 405, .. } => {
                "check the platform's URL and the workspace's id"
            }
            RemoteErrorKind::Refused { .. } => "fix the rejected definition",
            RemoteErrorKind::Malformed(_) | RemoteErrorKind::Redirected(_) => {
                "check that the URL leads to the platform's Data API"
            }
            RemoteErrorKind::AccountDialect(_) => {
                "write `{ account = \"ORGANIZATION/USER\" }` in place of the workspace's id"
            }
            RemoteErrorKind::NoAccount(_) => {
                "check the platform's URL; a platform with workspaces takes their ids in place of `account`"
            }
            RemoteErrorKind::Partial(_) => "an incomplete list is not used",
            RemoteErrorKind::TooLarge { .. } => "an incomplete response is not used",
        }
    }
}

fn after_colon(message: &str) -> String {
    if message.is_empty() { ", without a message".to_owned() } else { format!(": {message}") }
}

fn requested_wait(wait: Option<Duration>) -> String {
    wait.map(|wait| format!(" and asks to wait {} s", wait.as_secs())).unwrap_or_default()
}

fn failure(status: u16) -> &'static str {
    match status {
        403 => "the token gives no access here",
        ..500 => "the platform, or a gateway before it, refused",
        _ => "the platform failed",
    }
}
