//! Requests in the dialect of their unit: a workspace speaks the contract, an account its own dialect.
//!
//! Invariant: a request that a dialect lacks cannot be built in it.

use super::account::AccountRequest;
use super::error::Endpoint;
use super::request::{CleanupBody, ConnectBody, ProbeConnectionTest, SyncBody, TestConnectionBody};
use super::{RemoteErrorKind, body_of};
use crate::model::{NonEmpty, ResolvedSource, Scope, SourceId};
use hyper::body::Bytes;
use serde_json::{Map, Value};

/// A request in one of the dialects.
#[derive(Clone, Copy)]
pub(super) enum Dialect<'a> {
    Contract(ContractRequest<'a>),
    Account(AccountRequest<'a>),
}

/// A request to a workspace.
#[derive(Clone, Copy)]
pub(super) enum ContractRequest<'a> {
    List,
    /// Lists an account, to explain why a workspace has no list.
    ProbeAccount,
    TestConnection(&'a ResolvedSource),
    /// Tests an empty configuration of this type, so that no secret is sent.
    ProbeConnectionTest(&'a str),
    Schema,
    Connect(&'a NonEmpty<&'a ResolvedSource>),
    Cleanup(&'a NonEmpty<SourceId>),
    Sync {
        ids: &'a NonEmpty<SourceId>,
        options: &'a Map<String, Value>,
    },
}

impl Dialect<'_> {
    pub(super) fn endpoint(&self) -> Endpoint {
        match self {
            Self::Contract(request) => request.endpoint(),
            Self::Account(request) => request.endpoint(),
        }
    }

    /// Returns the body of a POST.
    pub(super) fn body(&self, scope: &Scope) -> Option<Bytes> {
        match self {
            Self::Contract(request) => request.body(scope),
            Self::Account(request) => request.body(),
        }
    }
}

impl ContractRequest<'_> {
    fn endpoint(&self) -> Endpoint {
        match self {
            Self::List => Endpoint::List,
            Self::ProbeAccount => Endpoint::AccountList,
            Self::TestConnection(_) | Self::ProbeConnectionTest(_) => Endpoint::TestConnection,
            Self::Schema => Endpoint::Schema,
            Self::Connect(_) => Endpoint::Connect,
            Self::Cleanup(_) => Endpoint::Cleanup,
            Self::Sync { .. } => Endpoint::Sync,
        }
    }

    fn body(&self, scope: &Scope) -> Option<Bytes> {
        match self {
            Self::List | Self::ProbeAccount | Self::Schema => None,
            Self::TestConnection(source) => {
                Some(body_of(&TestConnectionBody { source_config: (*source).into() }))
            }
            Self::ProbeConnectionTest(kind) => Some(body_of(&ProbeConnectionTest::of_type(kind))),
            Self::Connect(sources) => {
                let sources = sources.as_slice().iter().map(|source| (*source).into()).collect();
                Some(body_of(&ConnectBody { scope, sources }))
            }
            Self::Cleanup(ids) => Some(body_of(&CleanupBody { scope, source_ids: ids.as_slice() })),
            Self::Sync { ids, options } => {
                Some(body_of(&SyncBody { scope, source_ids: ids.as_slice(), sync_options: options }))
            }
        }
    }
}

/// Returns the refusal of a request that accounts do not have.
pub(super) fn not_of_accounts(what: &str) -> RemoteErrorKind {
    RemoteErrorKind::NotSent(format!(
        "an account has no {what}: the platform reads a source when a concept runs"
    ))
}
