use super::{Failure, Surroundings};

const HELP: &str = "\
Examples:
  furlough completions bash > ~/.local/share/bash-completion/completions/furlough
  furlough completions zsh > ~/.zfunc/_furlough         # with ~/.zfunc in fpath, before compinit
  furlough completions fish > ~/.config/fish/completions/furlough.fish";

#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub(super) struct Completions {
    /// The shell to complete for.
    shell: clap_complete::Shell,
}

impl Completions {
    pub(super) fn execute(self, _surroundings: &Surroundings, command: &mut clap::Command) -> Result<u8, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, command, "furlough", &mut script);
        super::print(&String::from_utf8_lossy(&script))?;
        Ok(0)
    }
}
