//! What the bare-metal binaries weigh.

use crate::baremetal::build;
use crate::elf::{Object, Program};
use crate::step::{Outcome, Report};
use crate::toolchain::BARE_TARGETS;

/// Variables below this many bytes are not listed.
const LISTED_MIN: u32 = 32;

pub(crate) fn run(report: &mut Report) {
    for target in BARE_TARGETS {
        report.step(&format!("one peer, {target}"), || sizes(target, ""));
        report.step(&format!("four peers, {target}"), || sizes(target, "four-peers"));
    }
}

/// Weighs an application that uses one plain endpoint and nothing else.
fn sizes(target: &str, features: &str) -> Outcome {
    let file = match build(target, features, "session") {
        Ok(file) => file,
        Err(outcome) => return outcome,
    };
    let Some(program) = Program::parse(&file) else {
        return Outcome::Failed("not an ELF file".into());
    };
    println!("{:>10} bytes of flash, of which", program.flash());
    for section in program.sections.iter().filter(|section| section.in_flash()) {
        println!("{:>10}   {}", section.len, section.name);
    }
    println!("{:>10} bytes of RAM besides the stack, of which", program.ram());
    for Object { name, len, .. } in listed(&program) {
        println!("{len:>10}   {name}");
    }
    Outcome::Passed
}

fn listed<'a>(program: &Program<'a>) -> Vec<Object<'a>> {
    let mut objects = program.objects();
    objects.retain(|object| object.in_ram && object.len >= LISTED_MIN);
    objects.sort_by_key(|object| core::cmp::Reverse(object.len));
    objects
}
