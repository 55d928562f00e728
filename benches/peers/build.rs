//! Looks for C ENet. Where it is missing its rows are left out, and the program says so.

use std::path::Path;

const HEADER_FOLDERS: [&str; 2] = ["/usr/include", "/usr/local/include"];

fn main() {
    println!("cargo::rustc-check-cfg=cfg(c_enet)");
    println!("cargo::rerun-if-changed=src/c_enet.c");
    for folder in HEADER_FOLDERS {
        println!("cargo::rerun-if-changed={folder}/enet");
    }
    if !HEADER_FOLDERS.iter().any(|folder| Path::new(folder).join("enet/enet.h").exists()) {
        println!("cargo::warning=no enet/enet.h (Debian: libenet-dev): built without C ENet");
        return;
    }
    cc::Build::new().file("src/c_enet.c").warnings_into_errors(true).compile("bowline_peers_enet");
    println!("cargo::rustc-link-lib=dylib=enet");
    // The library is to find our `sendmsg`, `recvmsg` and clock in the executable before libc's.
    println!("cargo::rustc-link-arg=-rdynamic");
    println!("cargo::rustc-cfg=c_enet");
}
