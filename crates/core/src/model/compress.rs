//! In-memory compression (raw deflate).

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Compresses `bytes`.
///
/// Returns `None` on failure, so that callers keep the original.
pub fn compress(bytes: &[u8]) -> Option<Box<[u8]>> {
    // Upper bound: incompressible data is stored in blocks with a small header each.
    let mut small = Vec::with_capacity(bytes.len() + bytes.len() / 1000 + 64);
    let status =
        Compress::new(Compression::fast(), false).compress_vec(bytes, &mut small, FlushCompress::Finish);
    if matches!(status, Ok(Status::StreamEnd)) { Some(small.into()) } else { None }
}

/// Decompresses bytes made by [`compress`].
///
/// Returns `None` if they are not such bytes.
///
/// `length` is the expected size of the result and only a hint.
pub fn decompress(small: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length + 64);
    let mut inflating = Decompress::new(false);
    loop {
        let rest = small.get(usize::try_from(inflating.total_in()).ok()?..)?;
        match inflating.decompress_vec(rest, &mut bytes, FlushDecompress::None) {
            Ok(Status::StreamEnd) => return Some(bytes),
            // The result is longer than the hint.
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
            let small = compress(&bytes).unwrap();
            prop_assert_eq!(decompress(&small, length), Some(bytes));
            prop_assert_eq!(decompress(&small[..(small.len() as f64 * part) as usize], length), None);
        }
    }
}
