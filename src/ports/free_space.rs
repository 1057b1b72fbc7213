//! How much the store can still grow.

pub trait FreeSpace: Send + Sync + 'static {
    /// In bytes, on the store's file system. None if it cannot be found out. Does not wait for the disk.
    fn free_bytes(&self) -> Option<u64>;
}
