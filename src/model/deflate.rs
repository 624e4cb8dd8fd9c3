//! Bytes that say much the same again and again, made small, and back.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// `None` where it cannot be made small; whoever asked keeps it as it is.
pub(crate) fn deflated(bytes: &[u8]) -> Option<Box<[u8]>> {
    // Stored as they are, in blocks, they take no more than this.
    let mut small = Vec::with_capacity(bytes.len() + bytes.len() / 1000 + 64);
    let status =
        Compress::new(Compression::fast(), false).compress_vec(bytes, &mut small, FlushCompress::Finish);
    matches!(status, Ok(Status::StreamEnd)).then(|| small.into())
}

/// What was deflated; `None` where these are no such bytes. It is about `length` bytes long.
pub(crate) fn inflated(small: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length + 64);
    let mut inflating = Decompress::new(false);
    loop {
        let rest = small.get(usize::try_from(inflating.total_in()).ok()?..)?;
        match inflating.decompress_vec(rest, &mut bytes, FlushDecompress::None) {
            Ok(Status::StreamEnd) => return Some(bytes),
            // It is longer than there was room for.
            Ok(_) if bytes.len() == bytes.capacity() => bytes.reserve(bytes.len()),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_made_small_comes_back_and_a_part_of_it_does_not(
            bytes in proptest::collection::vec(0..4_u8, 0..3_000), length in 0..4_000_usize, part in 0.0..1.0,
        ) {
            let small = deflated(&bytes).unwrap();
            prop_assert_eq!(inflated(&small, length), Some(bytes));
            prop_assert_eq!(inflated(&small[..(small.len() as f64 * part) as usize], length), None);
        }
    }
}
