//! What Cargo does not see by itself: the migrations are compiled in, so a new folder among them must make the crate anew;
//! and every file of words of notifications is compiled in, from a list that is made here.
use std::path::{Path, PathBuf};
use std::{env, fs, io};

const WORDS: &str = "src/notifications/words";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=../../migrations");
    println!("cargo::rerun-if-changed={WORDS}");
    let var = |name| env::var_os(name).map(PathBuf::from).ok_or_else(|| io::Error::other("not run by Cargo"));
    let list = words(&var("CARGO_MANIFEST_DIR")?.join(WORDS))?;
    fs::write(var("OUT_DIR")?.join("words.rs"), list)
}

/// `&[("name.toml", include_str!("…/name.toml")), …]`, in the order of the names.
fn words(folder: &Path) -> io::Result<String> {
    let mut files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    files.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    files.sort();
    let mut list = String::from("&[");
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        list += &format!("({name:?}, include_str!({:?})),", path.to_string_lossy());
    }
    Ok(list + "]")
}
