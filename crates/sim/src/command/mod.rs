//! The subcommands of the program.

pub(crate) mod model;
pub(crate) mod simulation;

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head);
    table
}
