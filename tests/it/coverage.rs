//! Every operation is called by name in some test: through the client's method of its name, or, where a form with a file
//! is sent, which the client cannot do, through a method of that name in the test. Those that are not stand in
//! `golden/uncovered-operations.txt`, a list that may only get shorter. Tests that walk the table of operations do not
//! count: they know nothing of what an operation does.
use scaicontrol_api::OPERATIONS;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const GOLDEN: &str = "golden/uncovered-operations.txt";

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn the_list_of_uncovered_operations_only_gets_shorter() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("it"), &mut files);
    let text: String = files.iter().map(|f| std::fs::read_to_string(f).expect("a file")).collect();
    let is_covered = |id: &str| text.contains(&format!(".{id}()"));

    let listed: BTreeSet<String> = std::fs::read_to_string(root.join(GOLDEN))
        .expect("the list")
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .map(str::to_owned)
        .collect();
    let known: BTreeSet<&str> = OPERATIONS.iter().map(|o| o.id).collect();
    let uncovered: BTreeSet<String> =
        known.iter().filter(|id| !is_covered(id)).map(|id| (*id).to_owned()).collect();
    let missing: Vec<_> = uncovered.difference(&listed).collect();
    let done: Vec<_> = listed.difference(&uncovered).collect();
    assert!(missing.is_empty(), "no test calls these by name: {missing:?}");
    assert!(done.is_empty(), "take these out of {GOLDEN}, they have a test or are gone: {done:?}");
}
