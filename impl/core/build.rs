//! The migrations are compiled in: a new folder among them must make the crate anew.
fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
}
