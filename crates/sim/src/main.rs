//! x
fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    punctual_sim::run::try_one(&args);
}
