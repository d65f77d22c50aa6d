//! How the cases of a file of vectors are read and run, by every test that has such a file.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;

/// Reads the cases of a file. They are counted, so that a file that lost its cases cannot pass.
pub(crate) fn read<T: DeserializeOwned>(file: &str, count: usize) -> Vec<T> {
    let cases: Vec<T> = serde_json::from_str(file).unwrap();
    assert_eq!(cases.len(), count);
    cases
}

/// Runs every case and names all that fail, not only the first.
pub(crate) fn check<T>(cases: &[T], name: impl Fn(&T) -> &str, run: impl Fn(&T) -> Result<(), String>) {
    let names: BTreeSet<&str> = cases.iter().map(&name).collect();
    assert_eq!(names.len(), cases.len(), "two cases have one name");
    let failed: Vec<String> =
        cases.iter().filter_map(|case| run(case).err().map(|error| format!("{}: {error}", name(case)))).collect();
    assert!(failed.is_empty(), "{} of {} cases failed:\n{}", failed.len(), cases.len(), failed.join("\n"));
}
