//! The name of a stored picture: `<kind>-<sha-256>.<extension>`, and nothing else is one.
use super::picture::Format;
use serde::{Serialize, Serializer};
use std::fmt;

/// What is not there, in the words of every 404 about a path.
pub const NOUN: &str = "what the path names";

/// What a picture is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A service, a pack or an entrypoint.
    Icon,
    /// Templates of invoices and mails.
    TemplateImage,
}

impl Kind {
    const ALL: [Kind; 2] = [Kind::Icon, Kind::TemplateImage];

    const fn name(self) -> &'static str {
        match self {
            Kind::Icon => "icon",
            Kind::TemplateImage => "template-image",
        }
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// What it is for.
    pub kind: Kind,
    /// Digest of its bytes: 64 digits of hex in lower case.
    pub sha256: String,
    /// What it is.
    pub format: Format,
}

impl Key {
    /// Reads a key; of anything else than the one way to write it, there is none.
    pub fn parse(text: &str) -> Option<Key> {
        let (name, extension) = text.split_once('.')?;
        let (kind, sha256) = name.rsplit_once('-')?;
        let kind = Kind::ALL.into_iter().find(|k| k.name() == kind)?;
        let format = Format::ALL.into_iter().find(|f| f.extension() == extension)?;
        let is_digest = sha256.len() == 64 && sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        is_digest.then(|| Key { kind, sha256: sha256.to_owned(), format })
    }

    /// Where it is in the store.
    pub fn place(&self) -> String {
        format!("uploads/{self}")
    }

    /// The tag of its content. It is strong: the digest is that of the very bytes.
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.sha256)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}.{}", self.kind.name(), self.sha256, self.format.extension())
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_written_is_read() {
        let digest = "0123456789abcdef".repeat(4);
        for kind in Kind::ALL {
            for format in Format::ALL {
                let key = Key { kind, sha256: digest.clone(), format };
                assert_eq!(Key::parse(&key.to_string()), Some(key));
            }
        }
        for wrong in [
            String::new(),
            format!("icon-{digest}"),
            format!("icon-{digest}.svg"),
            format!("icon-{digest}.png/"),
            format!("icon-{digest}.png.png"),
            format!("icons-{digest}.png"),
            format!("-{digest}.png"),
            format!("icon-{}.png", digest.to_uppercase()),
            format!("icon-{}.png", &digest[1..]),
            format!("../icon-{digest}.png"),
            format!("icon-{digest}\0.png"),
            format!("document-{digest}.png"),
        ] {
            assert_eq!(Key::parse(&wrong), None, "{wrong:?}");
        }
    }
}
