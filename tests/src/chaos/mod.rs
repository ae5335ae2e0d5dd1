//! What the driver of a chaos run and its workers have in common: orders, moments within a step, and the kinds of work.

pub mod orders;
pub mod work;

/// Lets this process be killed when the one that started it is gone, where the kernel can arrange that: a frozen one
/// would not notice.
///
/// # Errors
/// Those of the system.
pub fn die_with_parent() -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    Ok(())
}
