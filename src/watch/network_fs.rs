//! Network file systems, whose remote changes cause no local events.

use std::path::Path;

/// Magic numbers of `statfs`, with readable names.
const NETWORK: [(u32, &str); 12] = [
    (0x0000_517b, "smb"),
    (0x0000_564c, "ncp"),
    (0x0000_6969, "nfs"),
    (0x00c3_6400, "ceph"),
    (0x0102_1997, "9p"),
    (0x0bd0_0bd0, "lustre"),
    (0x5346_414f, "afs"),
    (0x6573_5546, "fuse"),
    (0x6a65_6a63, "virtiofs"),
    (0x7375_7245, "coda"),
    (0xfe53_4d42, "smb2"),
    (0xff53_4d42, "cifs"),
];

/// Returns the name of the network file system that contains `path`, if any.
pub(super) fn network_fs_name(path: &Path) -> Option<&'static str> {
    let found = rustix::fs::statfs(path).ok()?;
    named(u64::try_from(found.f_type).unwrap_or_default())
}

fn named(magic: u64) -> Option<&'static str> {
    NETWORK.iter().find(|(known, _)| u64::from(*known) == magic & 0xffff_ffff).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_told_from_those_of_this_machine() {
        assert_eq!(named(rustix::fs::NFS_SUPER_MAGIC as u64), Some("nfs"));
        assert_eq!(named(0xfe53_4d42), Some("smb2"));
        for local in [0xef53, 0x0102_1994, 0x9123_683e, 0x794c_7630, 0x5846_5342] {
            assert_eq!(named(local), None, "{local:x}");
        }
        assert_eq!(network_fs_name(Path::new("/proc")), None);
        assert_eq!(network_fs_name(Path::new("/nowhere")), None);
    }
}
