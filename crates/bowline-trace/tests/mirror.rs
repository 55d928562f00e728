//! A recorder has every method that an endpoint has.

extern crate alloc;

use alloc::collections::BTreeSet;
use std::path::Path;

/// The names of public methods with a receiver, in the `impl` blocks that begin with `head`.
fn methods(source: &str, head: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for block in source.split('\n').collect::<Vec<_>>().join("\n").split("\nimpl").skip(1) {
        if !block.starts_with(head) {
            continue;
        }
        let block = block.split("\n}").next().unwrap_or_default();
        for method in block.split("    pub ").skip(1) {
            let signature = method.split('{').next().unwrap_or_default();
            let Some((_, named)) = signature.split_once("fn ") else { continue };
            let (name, arguments) = named.split_once('(').unwrap_or_default();
            let is_method =
                arguments.trim_start().starts_with(['&', 's']) && arguments.contains("self");
            let is_public = !signature.starts_with("(crate)");
            if is_method && is_public {
                names.insert(name.split('<').next().unwrap_or_default().to_owned());
            }
        }
    }
    names
}

#[test]
fn no_method_of_an_endpoint_is_missing() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Ok(files) = std::fs::read_dir(here.join("../bowline-native/src")) else { return };
    let mut endpoint = BTreeSet::new();
    for file in files {
        let path = file.unwrap().path();
        if path.is_file() {
            let source = format!("\n{}", std::fs::read_to_string(path).unwrap());
            endpoint.append(&mut methods(&source, "<S: Storage> Endpoint<S>"));
        }
    }
    let source = std::fs::read_to_string(here.join("src/recorder.rs")).unwrap();
    let recorder = methods(&source, "<S: Storage, W: Sink> Recorder<S, W>");
    assert!(endpoint.len() > 15 && endpoint.contains("connect_plain"), "{endpoint:?}");
    let missing: Vec<_> = endpoint.difference(&recorder).collect();
    assert!(missing.is_empty(), "not mirrored: {missing:?}");
}
