//! The matrix of real programs: `interop [--short] [--ours c|bowline] [--only TEXT] [--jobs N]
//! [--godot FOLDER]`.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bowline_interop::matrix::{Cell, Places, Program, cells, package_folder};

/// Enough for two cores: the programs mostly wait.
const JOBS: usize = 3;

#[derive(Debug)]
struct Request {
    is_short: bool,
    ours: Option<Program>,
    only: String,
    jobs: usize,
    godot: String,
}

fn main() -> ExitCode {
    match request() {
        Ok(request) => run(&request),
        Err(why) => {
            eprintln!(
                "{why}\nusage: interop [--short] [--ours c|bowline] [--only TEXT] [--jobs N] \
                 [--godot FOLDER]"
            );
            ExitCode::from(2)
        }
    }
}

fn request() -> Result<Request, String> {
    let (only, godot) = (String::new(), std::env::var("BOWLINE_GODOT").unwrap_or_default());
    let mut request = Request { is_short: false, ours: None, only, jobs: JOBS, godot };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("`{word}` takes a value"));
        match word.as_str() {
            "--short" => request.is_short = true,
            "--only" => request.only = value()?,
            "--godot" => request.godot = value()?,
            "--jobs" => request.jobs = value()?.parse().map_err(|_| "how many jobs?")?,
            "--ours" => {
                request.ours = Some(match value()?.as_str() {
                    "c" => Program::C,
                    "bowline" => Program::Bowline,
                    other => return Err(format!("no library `{other}`")),
                });
            }
            _ => return Err(format!("what is `{word}`?")),
        }
    }
    Ok(request)
}

fn run(request: &Request) -> ExitCode {
    let this = std::env::current_exe().expect("this program has a path");
    let scratch = std::env::temp_dir().join(format!("bowline-interop-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).expect("a scratch folder can be made");
    let godot = request.godot.clone().into();
    let (package, peer) = (package_folder(), this.with_file_name("peer"));
    let places = Places { package, peer, godot, scratch };

    let mut here = Vec::new();
    // The harness can be tried without us.
    let stands_in = request.ours.is_none() && places.version(Program::Bowline).is_err();
    let ours = request.ours.unwrap_or(if stands_in { Program::C } else { Program::Bowline });
    if stands_in {
        println!("SKIPPED bowline: not there yet; the C library stands in");
    }
    for program in [ours].into_iter().chain(Program::OTHERS) {
        match places.version(program) {
            Ok(version) => {
                println!("{}: {version}", program.name());
                here.push(program);
            }
            Err(why) => println!("SKIPPED {}: {why}", program.name()),
        }
    }
    let cells: Vec<_> = cells(ours, request.is_short)
        .into_iter()
        .enumerate()
        .filter(|(_, cell)| here.contains(&cell.ours) && here.contains(&cell.theirs))
        .filter(|(_, cell)| cell.to_string().contains(&request.only))
        .collect();
    let failures = all(&cells, &places, request.jobs);
    // Scripts only; nobody misses them, nor minds them.
    let _ = std::fs::remove_dir_all(&places.scratch);
    println!("{} of {} passed", cells.len() - failures, cells.len());
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs all cells, some at a time; how many failed.
fn all(cells: &[(usize, Cell)], places: &Places, jobs: usize) -> usize {
    let (next, failures, print) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(()));
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let next = next.fetch_add(1, Ordering::Relaxed);
                    let Some((number, cell)) = cells.get(next) else { return };
                    let began = Instant::now();
                    let outcome = cell.run(places, *number);
                    let took = began.elapsed().as_secs_f64();
                    let _only_one = print.lock();
                    match outcome {
                        Ok(()) => println!("ok     {took:5.1} s  {cell}"),
                        Err(why) => {
                            failures.fetch_add(1, Ordering::Relaxed);
                            println!("FAILED {took:5.1} s  {cell}: {why}");
                        }
                    }
                }
            });
        }
    });
    failures.into_inner()
}
