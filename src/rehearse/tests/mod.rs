mod clouds;
mod names;
