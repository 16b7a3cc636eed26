//! Rebuilds when a migration is added: they are part of the binary, and nothing else would notice. And when the
//! queries are to be checked anew, which their macros do while they are expanded.

fn main() {
    println!("cargo:rerun-if-changed=../migrations");
    println!("cargo:rerun-if-env-changed=SQLX_OFFLINE_DIR");
}
