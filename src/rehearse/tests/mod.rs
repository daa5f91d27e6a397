mod clouds;
mod machine;
mod names;
mod night;
