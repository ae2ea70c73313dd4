pub use fulgur::*;
