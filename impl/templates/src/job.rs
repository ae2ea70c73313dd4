//! Owns what the server tells the renderer: one job in JSON on its standard input, one PDF on its standard output.
//!
//! The renderer is a program of its own (`scaicontrol-render`), so that a hostile or broken template costs one
//! process with its own limits, never the server. This module is all that the two sides share.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most bytes of a job, encoded.
pub const MAX_JOB_BYTES: usize = 48 << 20;
/// Most bytes of a PDF.
pub const MAX_PDF_BYTES: usize = 64 << 20;
/// Most images of a job.
pub const MAX_IMAGES: usize = 64;
/// Most bytes of one image, as uploads allow.
pub const MAX_IMAGE_BYTES: usize = 2 << 20;

/// A document to be made into a PDF.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// The page.
    pub html: String,
    /// Its style sheet.
    #[serde(default)]
    pub css: String,
    /// The images that it names, by what it writes in `src`: PNG, JPEG or GIF, in Base64.
    #[serde(default)]
    pub images: BTreeMap<String, Base64>,
    /// Title in the metadata.
    pub title: String,
    /// Author in the metadata: the seller.
    pub author: String,
    /// Language, a code of two letters.
    pub language: String,
    /// What is written as time of creation, UTC, `YYYY-MM-DDThh:mm:ss`: it belongs to the document, so that the same
    /// job gives the same bytes.
    pub created: String,
    /// Limits of the process.
    #[serde(default)]
    pub limits: Limits,
}

/// Limits that the renderer sets for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Seconds of processor time.
    pub cpu_seconds: u64,
    /// Bytes of address space.
    pub memory_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { cpu_seconds: 20, memory_bytes: 1 << 30 }
    }
}

/// Bytes that are Base64 in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base64(pub Vec<u8>);

impl Serialize for Base64 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use base64::Engine;
        serializer.serialize_str(&base64::engine::general_purpose::STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use base64::Engine;
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = base64::engine::general_purpose::STANDARD.decode(text.as_bytes());
        bytes.map(Self).map_err(serde::de::Error::custom)
    }
}

/// How the renderer ends. Anything but `Done` has one line on standard error that says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// The PDF is on standard output.
    Done,
    /// The document cannot be made into a PDF: the job is at fault, and trying again is of no use.
    Refused,
    /// The job cannot be read.
    BadJob,
}

impl Exit {
    /// The exit code of the process.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 3,
            Self::BadJob => 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_goes_there_and_back() {
        let job = Job {
            html: "<p>ü</p>".into(),
            css: String::new(),
            images: [("logo.png".to_owned(), Base64(vec![0, 255, 7]))].into(),
            title: "T".into(),
            author: "A".into(),
            language: "en".into(),
            created: "2026-03-01T09:00:00".into(),
            limits: Limits::default(),
        };
        let json = serde_json::to_vec(&job).unwrap();
        assert_eq!(serde_json::from_slice::<Job>(&json).unwrap(), job);
        assert!(serde_json::from_str::<Job>("{\"html\":\"\",\"unknown\":1}").is_err());
    }
}
