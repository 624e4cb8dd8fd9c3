//! Reads the bodies of responses within their limits.

use super::error::RemoteErrorKind;
use super::failure::classify_send_error;
use super::room::{self, ByteBudget, ByteBudgets};
use hyper::body::Bytes;
use reqwest::Response;

/// Reason why a response could not be read.
pub(super) enum Unread {
    Failed(RemoteErrorKind),
    /// The response is large, and the budget lacks this many bytes.
    OverBudget(usize),
}

impl From<RemoteErrorKind> for Unread {
    fn from(kind: RemoteErrorKind) -> Self {
        Self::Failed(kind)
    }
}

/// Reads the body, up to `limit` bytes after decompression.
///
/// A body that arrives in one piece is not copied.
pub(super) async fn read(response: &mut Response, limit: usize) -> Result<Bytes, RemoteErrorKind> {
    let unlimited = ByteBudgets::new();
    match read_large(response, limit.min(room::UNBUDGETED_BYTES), &unlimited, &mut None).await {
        Ok(body) => Ok(body),
        Err(Unread::Failed(kind)) => Err(kind),
        Err(Unread::OverBudget(limit)) => Err(RemoteErrorKind::TooLarge { limit }),
    }
}

/// Like [`read`], but large bodies take a share of the memory budget.
pub(super) async fn read_large(
    response: &mut Response,
    limit: usize,
    rooms: &ByteBudgets,
    room: &mut Option<ByteBudget>,
) -> Result<Bytes, Unread> {
    let announced = response.content_length().and_then(|length| usize::try_from(length).ok());
    let needed = announced.unwrap_or(limit).min(limit);
    let mut first: Option<Bytes> = None;
    let mut whole = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| classify_send_error(&error))? {
        let come = first.as_ref().map_or(whole.len(), Bytes::len);
        if come + piece.len() > limit {
            return Err(RemoteErrorKind::TooLarge { limit }.into());
        }
        if room.is_none() && come + piece.len() > room::UNBUDGETED_BYTES {
            *room = Some(rooms.try_acquire(needed).ok_or(Unread::OverBudget(needed))?);
        }
        if room.is_some() && announced.is_some() && whole.capacity() < needed {
            // Growing by doubling would take up to three times as much.
            whole.reserve_exact(needed - whole.len());
        }
        match first.take() {
            None if whole.is_empty() => first = Some(piece),
            first => {
                whole.extend_from_slice(first.as_deref().unwrap_or_default());
                whole.extend_from_slice(&piece);
            }
        }
    }
    Ok(first.unwrap_or_else(|| whole.into()))
}
