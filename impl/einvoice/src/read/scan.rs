//! Owns the scan that runs before the parser: one pass over the bytes, a small stack, no recursion.
//!
//! It does not judge whether the XML is well-formed; the parser does. It makes sure that what the parser, the search for
//! duplicates and the rules do is linear: everything in them that is quadratic or deep is bounded here.

use std::borrow::Cow;

use super::{Limits, Unreadable};

/// Attributes of one element, namespaces included.
const ATTRIBUTES_MAX: usize = 64;
/// Namespaces that are declared on an element or around it.
const NAMESPACES_MAX: usize = 64;
/// Different names among the children of one element. An invoice has some sixty.
const NAMES_MAX: usize = 128;
/// Second and later occurrences, under one parent, of elements that no invoice repeats.
const REPEATS_MAX: usize = 500;
/// The same of elements that invoices do repeat, lines aside.
const REPEATING_MAX: usize = 20_000;
/// Lines.
const LINES_MAX: usize = 10_000;
/// Empty elements that are remembered.
const EMPTY_MAX: usize = 20;

/// Elements that valid documents repeat under one parent.
const REPEATING: &[&[u8]] = &[
    b"InvoiceLine",
    b"CreditNoteLine",
    b"SubInvoiceLine",
    b"IncludedSupplyChainTradeLineItem",
    b"TaxTotal",
    b"TaxSubtotal",
    b"ApplicableTradeTax",
    b"AllowanceCharge",
    b"SpecifiedTradeAllowanceCharge",
    b"AppliedTradeAllowanceCharge",
    b"Note",
    b"IncludedNote",
    b"PaymentMeans",
    b"SpecifiedTradeSettlementPaymentMeans",
    b"PaymentTerms",
    b"SpecifiedTradePaymentTerms",
    b"PartyIdentification",
    b"PartyTaxScheme",
    b"PartyLegalEntity",
    b"SpecifiedTaxRegistration",
    b"BillingReference",
    b"InvoiceReferencedDocument",
    b"AdditionalDocumentReference",
    b"AdditionalReferencedDocument",
    b"DocumentReference",
    b"AdditionalItemProperty",
    b"ApplicableProductCharacteristic",
    b"CommodityClassification",
    b"DesignatedProductClassification",
    b"TaxTotalAmount",
    b"PrepaidPayment",
    b"UBLExtension",
    b"Delivery",
];

/// The lines of a document, of which there may be many.
const LINES: &[&[u8]] =
    &[b"InvoiceLine", b"CreditNoteLine", b"SubInvoiceLine", b"IncludedSupplyChainTradeLineItem"];

/// Checks that a document is bounded. Answers the names of its empty elements, which Peppol and XRechnung forbid.
///
/// # Errors
/// [`Unreadable`] with the bound that it breaks.
pub(super) fn scan(bytes: &[u8], limits: &Limits) -> Result<Vec<String>, Unreadable> {
    if bytes.starts_with(b"<\0") || bytes.starts_with(b"\0<") {
        return Err(Unreadable::Encoding("UTF-16 needs a byte order mark".into()));
    }
    let text = as_utf8(bytes);
    let mut scan = Scan {
        limits,
        open: Vec::new(),
        elements: 0,
        repeats: 0,
        repeating: 0,
        namespaces: 0,
        empty: Vec::new(),
    };
    let mut rest: &[u8] = &text;
    while let Some(at) = rest.iter().position(|byte| *byte == b'<') {
        let (before, tag) = rest.split_at_checked(at).unwrap_or_default();
        scan.text(before);
        rest = tag;
        rest = if let Some(comment) = rest.strip_prefix(b"<!--") {
            after(comment, b"-->")?
        } else if let Some(data) = rest.strip_prefix(b"<![CDATA[") {
            scan.text(b"data");
            after(data, b"]]>")?
        } else if rest.starts_with(b"<!") {
            return Err(Unreadable::DocumentType);
        } else if let Some(instruction) = rest.strip_prefix(b"<?") {
            after(instruction, b"?>")?
        } else if let Some(end) = rest.strip_prefix(b"</") {
            scan.close();
            after(end, b">")?
        } else {
            scan.open(rest.get(1..).unwrap_or_default())?
        };
    }
    if scan.elements == 0 {
        return Err(Unreadable::Xml("there is no element".into()));
    }
    if !scan.open.is_empty() {
        return Err(Unreadable::Xml("an element is not closed".into()));
    }
    Ok(scan.empty)
}

/// UTF-16 with its mark becomes UTF-8; everything else stays. What is wrong in it becomes a replacement character here
/// and an error in the parser.
pub(super) fn as_utf8(bytes: &[u8]) -> Cow<'_, [u8]> {
    let units = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = rest.as_chunks::<2>().0.iter().map(|pair| unit(*pair)).collect();
        Cow::Owned(String::from_utf16_lossy(&units).into_bytes())
    };
    if let Some(rest) = bytes.strip_prefix(b"\xff\xfe") {
        units(rest, u16::from_le_bytes)
    } else if let Some(rest) = bytes.strip_prefix(b"\xfe\xff") {
        units(rest, u16::from_be_bytes)
    } else {
        Cow::Borrowed(bytes)
    }
}

fn after<'a>(bytes: &'a [u8], mark: &[u8]) -> Result<&'a [u8], Unreadable> {
    let found = bytes.windows(mark.len()).position(|window| window == mark);
    let end = found.and_then(|at| at.checked_add(mark.len())).and_then(|end| bytes.get(end..));
    end.ok_or_else(|| Unreadable::Xml("it ends within a tag, a comment or character data".into()))
}

/// An element that is not closed yet.
struct Open<'a> {
    name: &'a [u8],
    /// Whether it holds text or an element.
    has_content: bool,
    /// Names of its children so far, and how many of each.
    children: Vec<(&'a [u8], usize)>,
    /// Namespaces that it declares.
    namespaces: usize,
}

struct Scan<'a, 'l> {
    limits: &'l Limits,
    open: Vec<Open<'a>>,
    elements: usize,
    repeats: usize,
    repeating: usize,
    namespaces: usize,
    empty: Vec<String>,
}

impl<'a> Scan<'a, '_> {
    /// A start tag, from its name on; answers what follows it.
    fn open(&mut self, tag: &'a [u8]) -> Result<&'a [u8], Unreadable> {
        let is_end_of_name = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b'/' | b'>');
        let length = tag.iter().position(is_end_of_name).unwrap_or(tag.len());
        let (name, attributes) = tag.split_at_checked(length).unwrap_or((tag, &[]));
        self.count(local(name))?;
        let (declared, is_empty, rest) = attributes_of(attributes)?;
        self.namespaces = self.namespaces.saturating_add(declared);
        if NAMESPACES_MAX < self.namespaces {
            return Err(Unreadable::TooMuch { what: "namespaces", max: NAMESPACES_MAX });
        }
        if let Some(parent) = self.open.last_mut() {
            parent.has_content = true;
        }
        self.open.push(Open { name, has_content: false, children: Vec::new(), namespaces: declared });
        if is_empty {
            self.close();
        } else if self.limits.max_depth < self.open.len() {
            return Err(Unreadable::TooMuch { what: "nesting", max: self.limits.max_depth });
        }
        Ok(rest)
    }

    fn close(&mut self) {
        if let Some(closed) = self.open.pop() {
            self.namespaces = self.namespaces.saturating_sub(closed.namespaces);
            if !closed.has_content && self.empty.len() < EMPTY_MAX {
                self.empty.push(String::from_utf8_lossy(closed.name).into_owned());
            }
        }
    }

    fn text(&mut self, text: &[u8]) {
        if let Some(parent) = self.open.last_mut()
            && !text.trim_ascii().is_empty()
        {
            parent.has_content = true;
        }
    }

    /// Counts an element, and its name among those of its parent.
    fn count(&mut self, name: &'a [u8]) -> Result<(), Unreadable> {
        self.elements = self.elements.saturating_add(1);
        if self.limits.max_elements < self.elements {
            return Err(Unreadable::TooMuch { what: "elements", max: self.limits.max_elements });
        }
        let Some(parent) = self.open.last_mut() else { return Ok(()) };
        let Some((_, times)) = parent.children.iter_mut().find(|(child, _)| *child == name) else {
            if NAMES_MAX <= parent.children.len() {
                return Err(Unreadable::TooMuch { what: "different elements in one place", max: NAMES_MAX });
            }
            parent.children.push((name, 1));
            return Ok(());
        };
        *times = times.saturating_add(1);
        if LINES.contains(&name) {
            return within("lines", *times, LINES_MAX);
        }
        let (counted, max) = if REPEATING.contains(&name) {
            (&mut self.repeating, REPEATING_MAX)
        } else {
            (&mut self.repeats, REPEATS_MAX)
        };
        *counted = counted.saturating_add(1);
        within("repeated elements", *counted, max)
    }
}

fn within(what: &'static str, count: usize, max: usize) -> Result<(), Unreadable> {
    if max < count { Err(Unreadable::TooMuch { what, max }) } else { Ok(()) }
}

/// The name without its prefix.
fn local(name: &[u8]) -> &[u8] {
    name.iter().position(|byte| *byte == b':').and_then(|at| name.get(at.checked_add(1)?..)).unwrap_or(name)
}

/// Of the attributes of a start tag: how many are namespaces, whether the element is empty, and what follows the tag.
fn attributes_of(bytes: &[u8]) -> Result<(usize, bool, &[u8]), Unreadable> {
    let (mut quote, mut last) = (None, 0_u8);
    let (mut attributes, mut namespaces) = (0_usize, 0_usize);
    for (at, byte) in bytes.iter().enumerate() {
        match (quote, byte) {
            (Some(open), byte) => {
                if open == *byte {
                    quote = None;
                }
            }
            (None, b'"' | b'\'') => quote = Some(*byte),
            (None, b'=') => {
                attributes = attributes.saturating_add(1);
                if ATTRIBUTES_MAX < attributes {
                    return Err(Unreadable::TooMuch { what: "attributes", max: ATTRIBUTES_MAX });
                }
                // Space may stand before the equals sign.
                let before = bytes.get(..at).unwrap_or_default().trim_ascii_end();
                let start = before
                    .iter()
                    .rposition(|byte| byte.is_ascii_whitespace() || *byte == b'"' || *byte == b'\'');
                let name = start.and_then(|start| before.get(start.checked_add(1)?..)).unwrap_or(before);
                if name.starts_with(b"xmlns") {
                    namespaces = namespaces.saturating_add(1);
                }
            }
            (None, b'>') => {
                let rest = bytes.get(at.saturating_add(1)..).unwrap_or_default();
                return Ok((namespaces, last == b'/', rest));
            }
            (None, _) => {}
        }
        last = *byte;
    }
    Err(Unreadable::Xml("it ends within a tag".into()))
}
