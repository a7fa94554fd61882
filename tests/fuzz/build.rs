//! Says whether the crate has the room for Samba's attribute yet.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(has_dos_attributes)");
    let source = "../../src/stub/dos_attributes.rs";
    println!("cargo::rerun-if-changed={source}");
    if std::path::Path::new(source).exists() {
        println!("cargo::rustc-cfg=has_dos_attributes");
    }
}
