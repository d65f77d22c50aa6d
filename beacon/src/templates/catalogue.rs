//! The catalogue: the templates in the order of their names, and the list and the page of them, made once.

use std::collections::BTreeMap;

use crate::templates::files::{TEMPLATE_MAX_BYTES, TemplateError, TemplateName};
use crate::templates::page;
use crate::templates::template::{Content, Template};

/// The most templates.
const TEMPLATES_MAX: usize = 64;

/// Bytes of the bundles of all templates, which stay in memory: of templates of the largest size, sixteen.
const CATALOGUE_MAX_BYTES: usize = 16 * TEMPLATE_MAX_BYTES;

/// Holds all templates, in the order of their names, with the list and the page.
#[derive(Debug)]
pub struct Catalogue {
    templates: BTreeMap<TemplateName, Template>,
    pub(super) list: Content,
    pub(super) page: Content,
}

impl Catalogue {
    /// Returns whether another template may be added to so many, before it is read.
    ///
    /// # Errors
    /// [`TemplateError::TooManyTemplates`], if not.
    pub const fn admit(templates: usize) -> Result<(), TemplateError> {
        if templates < TEMPLATES_MAX { Ok(()) } else { Err(TemplateError::TooManyTemplates { most: TEMPLATES_MAX }) }
    }

    /// Makes the catalogue of these templates, of which no two have one name.
    ///
    /// # Errors
    /// What they break of the rules together.
    pub fn new(templates: Vec<Template>) -> Result<Self, TemplateError> {
        Self::admit(templates.len().saturating_sub(1))?;
        if templates.iter().map(|template| template.bundle.bytes.len()).sum::<usize>() > CATALOGUE_MAX_BYTES {
            return Err(TemplateError::CatalogueTooLarge { most: CATALOGUE_MAX_BYTES });
        }
        let templates: BTreeMap<_, _> =
            templates.into_iter().map(|template| (template.name.clone(), template)).collect();
        let told: Vec<_> = templates.values().map(|template| &*template.manifest.bytes).collect();
        let list = Content::new([&b"["[..], &told.join(&b","[..]), b"]"].concat());
        let page = Content::new(page::store(templates.values()).into_bytes());
        Ok(Self { templates, list, page })
    }

    pub(super) fn template(&self, name: &str) -> Option<&Template> {
        self.templates.get(&TemplateName::new(name).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::templates::files::TemplateFiles;

    fn template(name: &str, bundle: Vec<u8>) -> Template {
        let mut files = TemplateFiles::new(TemplateName::new(name).unwrap());
        files.add("manifest.json".to_owned(), br#"{"name":"a"}"#.to_vec()).unwrap();
        Template::new(&files, bundle).unwrap()
    }

    #[test]
    fn the_list_has_what_is_told_of_each_in_the_order_of_names() {
        let told = |name| {
            format!(r#"{{"name":"a","description":"","category":"","icon":"","dir":"{name}","source":"store"}}"#)
        };
        let catalogue = Catalogue::new(["blog", "a"].map(|name| template(name, Vec::new())).into()).unwrap();
        assert_eq!(str::from_utf8(&catalogue.list.bytes).unwrap(), format!("[{},{}]", told("a"), told("blog")));
        assert!(catalogue.template("a").is_some());
        assert!(catalogue.template("A").is_none() && catalogue.template("c").is_none());
        assert_eq!(&*Catalogue::new(Vec::new()).unwrap().list.bytes, b"[]");
    }

    #[test]
    fn a_catalogue_is_bounded_in_templates_and_bytes() {
        let of = |number: usize| template(&format!("t{number}"), Vec::new());
        assert!(Catalogue::new((0..TEMPLATES_MAX).map(of).collect()).is_ok());
        let many = Catalogue::new((0..=TEMPLATES_MAX).map(of).collect());
        assert_eq!(many.unwrap_err(), TemplateError::TooManyTemplates { most: 64 });
        let large = |number: usize| template(&format!("t{number}"), vec![0; TEMPLATE_MAX_BYTES]);
        assert!(Catalogue::new((0..16).map(large).collect()).is_ok());
        let one_byte_more = template("t16", vec![0]);
        let too_large = Catalogue::new((0..16).map(large).chain([one_byte_more]).collect());
        assert_eq!(too_large.unwrap_err(), TemplateError::CatalogueTooLarge { most: CATALOGUE_MAX_BYTES });
    }
}
