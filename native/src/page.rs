//! The files of the page, which are part of the program: it stays one file.

use crate::documents;

/// Returns the content of a file of `public/`, or the page of a document; empty where there is no such file.
pub(crate) fn content(file: &str) -> &'static str {
    match file {
        "index.html" => include_str!("../../public/index.html"),
        "admin.html" => include_str!("../../public/admin.html"),
        "admin.js" => include_str!("../../public/admin.js"),
        "docs.css" => include_str!("../../public/docs.css"),
        "page.css" => include_str!("../../public/page.css"),
        "page.js" => include_str!("../../public/page.js"),
        "presence.js" => include_str!("../../public/presence.js"),
        "ticket.js" => include_str!("../../public/ticket.js"),
        "icon.svg" => include_str!("../../public/icon.svg"),
        file => documents::page(file).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use rendezvous_service::asset::ASSETS;

    use super::content;

    #[test]
    fn every_file_of_the_page_is_there() {
        for asset in ASSETS {
            assert!(!content(asset.file).is_empty(), "{}", asset.file);
        }
        assert_eq!(content("page.html"), "");
    }
}
