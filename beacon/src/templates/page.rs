//! The page on which people see the templates: without a script, and whatever a manifest says is text.

use std::fmt::Write as _;

use crate::html::{escaped, page, paragraph};
use crate::templates::template::Template;

const LEAD: &str = "Sites to begin with, as the operator of this beacon offers them. A bundle is a .tar.gz of plain files: \
                    nothing of it runs here, and you decide what to do with it.";

/// Writes the page. Links are relative, because a door for goop2's peers has the page too.
pub(super) fn store<'a>(templates: impl Iterator<Item = &'a Template>) -> String {
    let mut cards = String::new();
    for Template { name, title, description, category, icon, .. } in templates {
        let icon = if icon.is_empty() { String::new() } else { format!("{} ", escaped(icon)) };
        // Writing to a string cannot fail.
        let _ =
            write!(cards, "<article class=\"card\">\n<h2>{icon}<span class=\"name\">{}</span></h2>\n", escaped(title));
        if !category.is_empty() {
            let _ = writeln!(cards, "<p class=\"soft\">{}</p>", escaped(category));
        }
        if !description.is_empty() {
            cards.push_str(&paragraph(description));
        }
        let _ = write!(
            cards,
            "<p><a href=\"api/templates/{name}/bundle\" download>Download {name}.tar.gz</a> \
             <a class=\"soft\" href=\"api/templates/{name}/manifest.json\">manifest</a></p>\n</article>\n"
        );
    }
    if cards.is_empty() {
        cards.push_str("<p class=\"empty\">There are no templates at the moment.</p>\n");
    }
    page("Templates", &format!("<p class=\"lead\">{}</p>\n<div class=\"cards\">\n{cards}</div>\n", escaped(LEAD)))
}
