//! The rules of the house: which crate may use which, and which folders stay pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace")
}

/// What each crate may depend on, of the crates of this workspace. Tests may use more.
const ARROWS: [(&str, &[&str]); 7] = [
    ("abide-persistence", &[]),
    ("abide-membership", &[]),
    ("abide-sharding", &["abide-persistence", "abide-membership"]),
    ("abide-http-api", &["abide-sharding", "abide-persistence"]),
    ("abide", &["abide-http-api", "abide-sharding", "abide-persistence", "abide-membership"]),
    ("abide-chaos-tests", &[]),
    ("greeter", &["abide"]),
];

#[test]
fn dependencies_point_one_way() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let ours: BTreeSet<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into();
    assert_eq!(ours, allowed.keys().copied().collect(), "a new crate needs its arrows here");
    for package in packages {
        let name = package["name"].as_str().expect("a name");
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let on = dependency["name"].as_str().expect("a name");
            if dependency["kind"].is_null() && ours.contains(on) {
                assert!(allowed[name].contains(&on), "{name} must not depend on {on}");
            }
        }
    }
}

/// Folders that hold what decides: no task, clock, dice, file or socket.
const PURE: [&str; 6] = [
    "persistence/src/engine",
    "persistence/src/journal",
    "persistence/src/model",
    "persistence/src/runtime/redis/engine",
    "membership/src/engine",
    "sharding/src/engine",
];

const IMPURE: [&str; 11] = [
    "tokio",
    "Instant::now",
    "SystemTime",
    "rand::",
    "std::fs",
    "std::net",
    "thread::spawn",
    "thread::sleep",
    "std::env",
    "std::process",
    "async fn",
];

#[test]
fn what_decides_is_pure() {
    let mut seen = 0;
    for folder in PURE {
        for file in sources(&root().join(folder)) {
            let text = std::fs::read_to_string(&file).expect("a source file");
            for (at, line) in text.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                let found = IMPURE.iter().find(|word| code.contains(*word));
                assert!(
                    found.is_none(),
                    "{}:{}: {} in a pure folder",
                    file.display(),
                    at + 1,
                    found.unwrap_or(&"")
                );
            }
            seen += 1;
        }
    }
    assert!(seen > 10, "only {seen} files: the folders have moved");
}

#[test]
fn every_engine_folder_is_held_pure() {
    let crates = ["persistence", "membership", "sharding", "http-api", "node"];
    for name in crates {
        let engine = format!("{name}/src/engine");
        if root().join(&engine).is_dir() {
            assert!(PURE.contains(&engine.as_str()), "{engine} is not in the list of pure folders");
        }
    }
}

#[test]
fn no_second_tls_stack_and_no_native_build_tools() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).expect("the lock file");
    for banned in ["openssl-sys", "aws-lc-rs", "aws-lc-sys", "protoc-bin-vendored", "cmake"] {
        assert!(!lock.contains(&format!("name = \"{banned}\"")), "{banned} has come into Cargo.lock");
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
