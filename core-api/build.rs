//! Rebuilds when a migration is added: they are part of the binary, and nothing else would notice.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
}
