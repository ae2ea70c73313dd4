//! What the tests share.

use scaicontrol_einvoice::Document;
use scaicontrol_einvoice::cases;

/// The document of a case.
pub fn case(name: &str) -> Document {
    let found = cases::all().into_iter().find(|case| case.name == name);
    found.unwrap_or_else(|| panic!("there is no case {name}")).document
}
