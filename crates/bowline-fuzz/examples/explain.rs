//! Prints what the bytes of a file do, for inputs that a fuzzer has found: `explain FILE [rogue]`.

use arbitrary::{Arbitrary, Unstructured};
use bowline_fuzz::setup::Setup;
use bowline_fuzz::{Counted, Op, run, run_rogue};

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let file = arguments.next().expect("explain FILE [rogue]");
    let data = std::fs::read(file).expect("a file that can be read");
    let mut u = Unstructured::new(&data);
    println!("{:#?}", Setup::arbitrary(&mut u));
    while !u.is_empty() {
        println!("{:?}", Op::arbitrary(&mut u));
    }
    let mut game = Counted::default();
    println!(
        "{:?}",
        match arguments.next() {
            Some(_) => run_rogue(&data, &mut game),
            None => run(&data, &mut game),
        }
    );
}
