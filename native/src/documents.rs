//! The documents as pages, made of the Markdown that is part of the program, each when it is first asked for.

use std::fmt::Write as _;
use std::sync::OnceLock;

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};
use rendezvous_service::documents::{DOCUMENTS, Document};

/// Where what is no page is.
const REPOSITORY: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/");

static PAGES: [OnceLock<String>; DOCUMENTS.len()] = [const { OnceLock::new() }; DOCUMENTS.len()];

/// Returns the page of a document, by its place in the repository.
pub(crate) fn page(file: &str) -> Option<&'static str> {
    let (document, page) = DOCUMENTS.iter().zip(&PAGES).find(|(document, _)| document.file == file)?;
    Some(page.get_or_init(|| lay_out(document, &to_html(document.file, source(document.file)))))
}

fn source(file: &str) -> &'static str {
    match file {
        "docs/README.md" => include_str!("../../docs/README.md"),
        "README.md" => include_str!("../../README.md"),
        "docs/install.md" => include_str!("../../docs/install.md"),
        "docs/upgrade.md" => include_str!("../../docs/upgrade.md"),
        "docs/cluster.md" => include_str!("../../docs/cluster.md"),
        "client/README.md" => include_str!("../../client/README.md"),
        "protocol/README.md" => include_str!("../../protocol/README.md"),
        "docs/from-peerjs.md" => include_str!("../../docs/from-peerjs.md"),
        "docs/from-trystero.md" => include_str!("../../docs/from-trystero.md"),
        "docs/from-y-webrtc.md" => include_str!("../../docs/from-y-webrtc.md"),
        "docs/from-swarm-space.md" => include_str!("../../docs/from-swarm-space.md"),
        "docs/from-goop2.md" => include_str!("../../docs/from-goop2.md"),
        "docs/from-retalk.md" => include_str!("../../docs/from-retalk.md"),
        "docs/from-shadowbroker.md" => include_str!("../../docs/from-shadowbroker.md"),
        "docs/from-hivemind.md" => include_str!("../../docs/from-hivemind.md"),
        "SECURITY.md" => include_str!("../../SECURITY.md"),
        "CHANGELOG.md" => include_str!("../../CHANGELOG.md"),
        _ => "",
    }
}

/// Makes markup of a document, with an anchor at each heading as GitHub makes them.
fn to_html(file: &str, text: &str) -> String {
    let mut anchors = Vec::new();
    let mut events = Vec::new();
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        let event = match event {
            Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
                let dest_url = CowStr::from(rewrite(file, &dest_url));
                Event::Start(Tag::Link { link_type, dest_url, title, id })
            }
            // Nothing is loaded from elsewhere: its text stands for a picture.
            Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => continue,
            // Markdown may have markup in it; these documents have none that is meant as such.
            Event::Html(text) | Event::InlineHtml(text) => Event::Text(text),
            Event::End(TagEnd::Heading(level)) => {
                name_heading(&mut events, &mut anchors);
                Event::End(TagEnd::Heading(level))
            }
            event => event,
        };
        events.push(event);
    }
    let mut markup = String::new();
    html::push_html(&mut markup, events.into_iter());
    markup
}

/// Gives the last heading that began an anchor of its own.
fn name_heading(events: &mut [Event<'_>], anchors: &mut Vec<String>) {
    let mut text = String::new();
    let Some(start) = events.iter().rposition(|event| matches!(event, Event::Start(Tag::Heading { .. }))) else {
        return;
    };
    let Some((heading, content)) = events.get_mut(start..).and_then(<[_]>::split_first_mut) else { return };
    for event in content {
        if let Event::Text(part) | Event::Code(part) = event {
            text.push_str(part);
        }
    }
    let slug = slug(&text);
    let taken = |anchors: &[String], anchor: &str| anchors.iter().any(|other| other == anchor);
    let mut anchor = slug.clone();
    for number in 1_usize.. {
        if !taken(anchors, &anchor) {
            break;
        }
        anchor = format!("{slug}-{number}");
    }
    if let Event::Start(Tag::Heading { id, .. }) = heading {
        *id = Some(anchor.clone().into());
    }
    anchors.push(anchor);
}

/// Returns the anchor that GitHub makes of a heading's text.
fn slug(text: &str) -> String {
    let kept = text.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

/// Returns what a link of a document leads to: a page here, or a file of the repository.
fn rewrite(from: &str, link: &str) -> String {
    let is_whole = ["https:", "http:", "mailto:", "#"].iter().any(|start| link.starts_with(start));
    if is_whole {
        return link.to_owned();
    }
    let (path, anchor) = link.split_once('#').map_or((link, ""), |(path, anchor)| (path, anchor));
    let mut place: Vec<_> = from.split('/').collect();
    place.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(place.pop()),
            part => place.push(part),
        }
    }
    let target = place.join("/");
    let hash = if anchor.is_empty() { String::new() } else { format!("#{anchor}") };
    match DOCUMENTS.iter().find(|document| document.file == target) {
        Some(document) => format!("/docs/{}{hash}", document.slug),
        None => format!("{REPOSITORY}{target}{hash}"),
    }
}

fn lay_out(document: &Document, main: &str) -> String {
    let mut menu = String::new();
    for Document { slug, name, .. } in DOCUMENTS {
        let here = if slug == document.slug { " aria-current=\"page\"" } else { "" };
        // Writing to a string cannot fail.
        let _ = writeln!(menu, "<li><a href=\"/docs/{slug}\"{here}>{name}</a></li>");
    }
    let name = document.name;
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{name} \u{b7} rendezvous-beacon</title>\n<link rel=\"icon\" href=\"/icon.svg\">\n\
         <link rel=\"stylesheet\" href=\"/docs.css\">\n<nav aria-label=\"Documents\"><ul>\n{menu}</ul></nav>\n\
         <main>\n{main}</main>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn values<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
        page.split(&format!(" {attribute}=\"")).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
    }

    #[test]
    fn every_link_leads_to_a_page_with_that_anchor_or_to_a_file() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let page_at =
            |slug: &str| DOCUMENTS.iter().find(|document| document.slug == slug).map(|one| page(one.file).unwrap());
        for Document { file, slug, .. } in DOCUMENTS {
            let html = page(file).unwrap();
            assert!(html.contains("<h1 id=\""), "{file}");
            for link in values(html, "href") {
                if let Some(place) = link.strip_prefix(REPOSITORY) {
                    let path = place.split('#').next().unwrap();
                    assert!(root.join(path).exists(), "{file}: {link}");
                } else if let Some(rest) = link.strip_prefix("/docs/").or_else(|| link.starts_with('#').then_some(link))
                {
                    let (path, anchor) = rest.split_once('#').unwrap_or((rest, ""));
                    let target = page_at(if link.starts_with('#') { slug } else { path });
                    let target = target.unwrap_or_else(|| panic!("{file}: {link}"));
                    assert!(anchor.is_empty() || values(target, "id").contains(&anchor), "{file}: {link}");
                } else {
                    let is_elsewhere = ["https://", "http://", "mailto:", "/icon.svg", "/docs.css"];
                    assert!(is_elsewhere.iter().any(|start| link.starts_with(start)), "{file}: {link}");
                }
            }
            let ids = values(html, "id");
            assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len(), "{file}");
            for part in ["<script", "<img", "<iframe", "javascript:", " src=", " style="] {
                assert!(!html.contains(part), "{part} in {file}");
            }
        }
        assert_eq!(page("docs/unknown.md"), None);
    }

    #[test]
    fn what_is_written_is_text_but_for_markdown() {
        let html = to_html(
            "docs/a.md",
            "# One `and` \"two\"\n\n## One\n\n## One\n\n<b>x</b> ![a <i>](https://a.example/b.png) [c](../d.md#e)\n",
        );
        for part in [
            "<h1 id=\"one-and-two\">",
            "<h2 id=\"one\">",
            "<h2 id=\"one-1\">",
            "&lt;b&gt;x&lt;/b&gt;",
            "a &lt;i&gt;",
            &format!("<a href=\"{REPOSITORY}d.md#e\">c</a>"),
        ] {
            assert!(html.contains(part), "{part} in {html}");
        }
        assert!(!html.contains("b.png"));
    }
}
