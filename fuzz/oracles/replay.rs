//! What fuzzing has kept, run again by an engine's own tests.

use std::fs;
use std::path::Path;

/// Runs an oracle on all that is kept for a target: inputs that each reach
/// something of their own, and those that once broke something.
///
/// # Panics
/// When one breaks, naming it, or when there are hardly any.
pub fn replay(target: &str, oracle: fn(&[u8])) {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut above = package.ancestors().map(|folder| folder.join("fuzz"));
    let root = above.find(|fuzz| fuzz.join("corpus").is_dir()).unwrap();
    let mut count = 0;
    for kind in ["corpus", "regressions"] {
        let folder = root.join(kind).join(target);
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            let input = fs::read(&path).unwrap();
            // The name of one that breaks is told by the panic's own lines.
            let outcome = std::panic::catch_unwind(|| oracle(&input));
            assert!(outcome.is_ok(), "{}", path.display());
            count += 1;
        }
    }
    assert!(count > 10, "{target}: {count} inputs");
}
