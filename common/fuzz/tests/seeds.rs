//! Inputs that are kept: where fuzzing starts from, and what it found. Here each is asked once, without libFuzzer.

use std::{fs, path::Path};

fn ask_of_all(target: fn(&[u8]), name: &str) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(name);
    let mut seeds: Vec<_> = fs::read_dir(seeds).expect("there are seeds").flatten().map(|seed| seed.path()).collect();
    seeds.sort();
    assert!(!seeds.is_empty());
    for seed in seeds {
        // Shown if it fails.
        println!("{}", seed.display());
        target(&fs::read(seed).expect("a seed can be read"));
    }
}

#[test]
fn json_is_what_serde_json_makes_of_it() {
    ask_of_all(fuzz::json, "json");
}

#[test]
fn other_formats_become_events_or_letters() {
    ask_of_all(fuzz::formats, "formats");
}
