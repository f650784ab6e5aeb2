//! What a device holds, as blkid tells it.

use std::path::Path;

use super::super::program::Program;

/// What a device holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    /// blkid knows nothing of it. That does not mean that it is empty.
    Nothing,
    /// A file system of this type, without partitions.
    FileSystem(String),
    /// A partition table.
    Table,
    /// Something else, in words.
    Other(String),
}

/// blkid's exit status when it has found nothing.
const NOTHING: i32 = 2;

/// blkid's exit status when what it has found contradicts itself.
const AMBIVALENT: i32 = 8;

/// Looks at a device itself, past every cache.
///
/// # Errors
/// One sentence.
pub fn look(device: &Path) -> Result<Content, String> {
    let ended = Program::new("blkid")
        .args(["--probe", "--output", "export"])
        .arg(device)
        .end()?;
    match ended.code() {
        Some(0) => Ok(content(&ended.text())),
        Some(NOTHING) => Ok(Content::Nothing),
        Some(AMBIVALENT) => Ok(Content::Other("marks of several formats".to_owned())),
        _ => Err(ended.complaint()),
    }
}

/// That a device is left alone.
pub fn refused(device: &Path, what: &str) -> String {
    format!(
        "{} holds {what} and is left untouched; homes need an empty drive or one with a file system",
        device.display()
    )
}

fn content(text: &str) -> Content {
    let value = |key: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once('='));
        lines.find_map(|(name, value)| (name == key).then_some(value))
    };
    match (value("TYPE"), value("USAGE"), value("PTTYPE")) {
        (Some(kind), Some("filesystem") | None, None) if is_type(kind) => {
            Content::FileSystem(kind.to_owned())
        }
        (Some(kind), _, _) => Content::Other(kind.chars().filter(|c| !c.is_control()).collect()),
        (None, _, Some(_)) => Content::Table,
        (None, _, None) => Content::Nothing,
    }
}

/// What can be an argument of mount.
fn is_type(kind: &str) -> bool {
    kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_blkid_prints_is_understood() {
        let ext4 = "DEVNAME=/dev/vdb1\nUUID=6f\nTYPE=ext4\nUSAGE=filesystem\nPART_ENTRY_NAME=a\n";
        assert_eq!(content(ext4), Content::FileSystem("ext4".into()));
        let table = "DEVNAME=/dev/vdb\nPTUUID=6f\nPTTYPE=gpt\n";
        assert_eq!(content(table), Content::Table);
        let luks = "TYPE=crypto_LUKS\nUSAGE=crypto\n";
        assert_eq!(content(luks), Content::Other("crypto_LUKS".into()));
        let swap = "TYPE=swap\nUSAGE=other\n";
        assert_eq!(content(swap), Content::Other("swap".into()));
        // A CD image with a partition table, for one.
        let both = "TYPE=iso9660\nUSAGE=filesystem\nPTTYPE=dos\n";
        assert_eq!(content(both), Content::Other("iso9660".into()));
        let odd = "TYPE=-o\nUSAGE=filesystem\n";
        assert_eq!(content(odd), Content::Other("-o".into()));
        assert_eq!(content("PART_ENTRY_NUMBER=1\n"), Content::Nothing);
    }
}
