//! Builds in which one thing is wrong on purpose; the test that is named must fail.

use core::time::Duration;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use crate::step::{Outcome, Report};
use crate::toolchain::{cargo, target_folder};
use crate::top;

/// The value of `--cfg bowline_mutant`, and the test file and test of `bowline-tests` that must notice.
const MUTANTS: &[(&str, &str, &str)] = &[
    ("skip_dedup", "transfer", "any_world_holds"),
    ("skip_order_filter", "transfer", "any_world_holds"),
    ("skip_checksum", "transfer", "any_world_holds"),
    ("skip_gap", "transfer", "a_lossy_link_delivers"),
    ("drop_fragment", "transfer", "a_perfect_link_delivers"),
    ("wrong_channel", "transfer", "a_perfect_link_delivers"),
    ("mix_up_modes", "transfer", "a_perfect_link_delivers"),
    ("lose_last", "liveness", "finishing_waits_for_what_was_queued"),
    ("forget_loss", "transfer", "a_lossy_link_delivers"),
    ("ack_without_taking", "transfer", "a_perfect_link_delivers"),
    ("forget_credit", "backpressure", "a_message_longer_than_the_window_gets_what_it_needs"),
    ("forget_writable", "backpressure", "full_is_followed_by_writable_and_then_there_is_room"),
    ("short_numbers", "transfer", "any_world_holds"),
    ("short_offsets", "transfer", "a_lossy_link_delivers"),
    ("leak", "conservation", "when_closed_in_the_midst_of_it"),
    ("skip_cookie", "hostile", "a_cookie_is_good_for_its_owner_only"),
    ("drop_outcome", "outcomes", "every_tagged_message_ends_once_and_no_other_does"),
    ("outcome_twice", "outcomes", "every_tagged_message_ends_once_and_no_other_does"),
    ("any_part", "outcomes", "a_message_in_parts_is_acknowledged_when_all_parts_are"),
    ("any_ticket", "outcomes", "an_outcome_that_was_not_polled_keeps_its_ticket"),
    ("leak_ticket", "conservation", "when_closed_in_the_midst_of_it"),
    ("given_up_goes_on", "deadlines", "what_expired_before_it_left_never_leaves"),
    ("void_not_resent", "deadlines", "words_that_are_lost_are_said_again"),
    ("void_delivers", "voids", "no_byte_of_anybody_else_comes_out_of_a_range_given_up"),
    ("keep_older", "latest", "nothing_older_comes_after_the_newest"),
    ("blame_the_absent", "liveness", "who_was_away_for_half_a_minute_blames_nobody"),
    (
        "endless_patience",
        "isolation",
        "whoever_keeps_the_memory_for_long_messages_gives_it_back_in_time",
    ),
    ("ignore_priority", "channels", "bulk_of_lower_priority_adds_at_most_a_datagram_before_a_head"),
    ("ignore_weight", "channels", "shares_hold_in_every_mode"),
    ("ignore_minimum", "channels", "a_starved_channel_gets_its_minimum"),
    ("ignore_maximum", "channels", "a_maximum_is_kept_to_one_burst"),
];

/// How long a test may take with a mutant; one that does not end has noticed too.
const PATIENCE: Duration = Duration::from_secs(120);

/// Each mutant against its test, and each of these tests against no mutant; or only those that the command
/// line names.
pub(crate) fn run(report: &mut Report) {
    let asked: Vec<String> = std::env::args().skip(2).collect();
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|asked| asked == name);
    if wanted("none") {
        check_none(report);
    }
    for (mutant, file, test) in MUTANTS.iter().filter(|(mutant, ..)| wanted(mutant)) {
        report.step(mutant, || match attempt(mutant, file, test) {
            Ok(None) => Outcome::Failed(format!("{test} does not notice")),
            Ok(Some(complaint)) => {
                println!("{test}: {complaint}");
                Outcome::Passed
            }
            Err(why) => Outcome::Failed(why),
        });
    }
}

fn check_none(report: &mut Report) {
    report.step("no mutant", || {
        let mut complaints =
            MUTANTS.iter().filter_map(|(_, file, test)| match attempt("", file, test) {
                Ok(None) => None,
                Ok(Some(complaint)) | Err(complaint) => Some(format!("{test}: {complaint}")),
            });
        complaints.next().map_or(Outcome::Passed, Outcome::Failed)
    });
}

/// What the test complains about in the build with this mutant, if it does.
fn attempt(mutant: &str, file: &str, test: &str) -> Result<Option<String>, String> {
    let program = build(mutant, file)?;
    let said = folder().join("said.txt");
    let output = File::create(&said).map_err(|error| error.to_string())?;
    let mut program = Command::new(program);
    program.args(["--exact", "--nocapture", test]).env("RUST_BACKTRACE", "0");
    program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
    let mut child = program.spawn().map_err(|error| error.to_string())?;
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok((!status.success()).then(|| complaint(&said)));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
    Ok(Some("it does not come to an end".into()))
}

/// The first line of the first panic.
fn complaint(said: &Path) -> String {
    let said = std::fs::read_to_string(said).unwrap_or_default();
    let mut lines = said.lines().skip_while(|line| !line.contains("panicked at"));
    lines.nth(1).unwrap_or("no word about why").chars().take(100).collect()
}

fn folder() -> PathBuf {
    target_folder(&top()).join("mutants")
}

/// What a copy of this program is called that compiles with a mutant.
const WRAPPER: &str = "rustc-with-";

/// A compiler of the workspace alone: what it depends on is the same with every mutant, and built once.
fn wrapper(mutant: &str) -> std::io::Result<PathBuf> {
    let wrapper = folder().join(format!("{WRAPPER}{mutant}{}", std::env::consts::EXE_SUFFIX));
    std::fs::create_dir_all(folder())?;
    std::fs::copy(std::env::current_exe()?, &wrapper)?;
    Ok(wrapper)
}

/// Compiles with a mutant, if this program was called for that.
pub(crate) fn compile() -> Option<ExitCode> {
    let mut arguments = std::env::args_os();
    let own = PathBuf::from(arguments.next()?);
    let mutant = own.file_stem()?.to_str()?.strip_prefix(WRAPPER)?;
    let mut command = Command::new(arguments.next()?);
    command.args(arguments).args(["--cfg", &format!("bowline_mutant=\"{mutant}\"")]);
    Some(match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Builds a file of tests and returns the program.
fn build(mutant: &str, file: &str) -> Result<PathBuf, String> {
    let mut command = cargo("test");
    if !mutant.is_empty() {
        command.env("RUSTC_WORKSPACE_WRAPPER", wrapper(mutant).map_err(|error| error.to_string())?);
    }
    // Without debug assertions: it is the tests that are to notice.
    command
        .env("CARGO_TARGET_DIR", folder())
        .args(["--config", "profile.test.debug-assertions=false"])
        .args(["--config", "profile.test.debug=0"])
        .args(["--quiet", "--no-run", "--message-format", "json"])
        .args(["-p", "bowline-tests", "--test", file])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = command.output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("it does not build: {}", output.status));
    }
    let output = String::from_utf8_lossy(&output.stdout);
    // The binaries of the package are built along.
    let mut programs =
        output.split("\"executable\":\"").skip(1).filter_map(|rest| rest.split('"').next());
    let is_test = |path: &&str| {
        let name = Path::new(path).file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(&format!("{file}-")))
    };
    let program = programs.find(is_test);
    program.map(PathBuf::from).ok_or_else(|| "cargo names no program".into())
}
