//! Asks the register of VAT numbers about the numbers of billing profiles, and keeps what it says.
//!
//! A number's form and check digits are tested when it is saved; whether it is registered is asked afterwards, so that no
//! customer waits for a register in another country. What is kept is the last thing the register really said and when: an
//! outage makes an unchecked number `unavailable`, and leaves one that was answered for as it was. An answer that grows old
//! is asked for again. Whatever it says, nothing that was issued changes.
pub mod worker;
