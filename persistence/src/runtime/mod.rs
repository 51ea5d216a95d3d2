//! The stores that come with Abide, and the tasks and files behind them.
