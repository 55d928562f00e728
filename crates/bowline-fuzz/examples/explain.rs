//! Prints what the bytes of a file do: `explain FILE`, for inputs that a fuzzer has found.

use arbitrary::{Arbitrary, Unstructured};
use bowline_fuzz::setup::Setup;
use bowline_fuzz::{Counted, Op, run};

fn main() {
    let file = std::env::args_os().nth(1).expect("explain FILE");
    let data = std::fs::read(file).expect("a file that can be read");
    let mut u = Unstructured::new(&data);
    println!("{:#?}", Setup::arbitrary(&mut u));
    while !u.is_empty() {
        println!("{:?}", Op::arbitrary(&mut u));
    }
    println!("{:?}", run(&data, &mut Counted::default()));
}
