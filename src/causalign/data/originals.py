"""Which public originals there are: publisher, licence, citation, files, and who reads them."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from causalign.data.publishers import OSF, Dataverse, Deposit, HuggingFace, InternetArchive
from causalign.errors import SettingsError, nearest


@dataclass(frozen=True, slots=True)
class Source:
    """A public original of data that this project reads.

    Parameters
    ----------
    name, title, publisher, page, licence, citation : str
        What it is, who publishes it where, and under which terms.
    read_by : tuple of str
        The reproductions and tutorials that read it.
    deposit : Deposit, optional
        Where its files are listed.
    files : tuple of str
        Patterns of names in the listing, each of which must be there.
    note : str
        What is left to do after the download.
    by_hand : str
        Why there is no download.
    """

    name: str
    title: str
    publisher: str
    page: str
    licence: str
    citation: str
    read_by: tuple[str, ...]
    deposit: Deposit | None = None
    files: tuple[str, ...] = ()
    note: str = ""
    by_hand: str = ""


_SOURCES = (
    Source(
        name="upworthy",
        title="The Upworthy Research Archive: randomised tests of headlines, with clicks",
        publisher="OSF",
        page="https://osf.io/jd64p/",
        licence="CC BY 4.0",
        citation="Matias, Munger, Le Quere and Ebersole (2021). The Upworthy Research Archive, a "
        "time series of 32,487 experiments in U.S. media. Scientific Data 8, 195. "
        "doi:10.1038/s41597-021-00934-7",
        read_by=("reproductions/deconfoundlm/upworthy", "recipes/upworthy"),
        deposit=OSF("jd64p"),
        files=("*exploratory-packages*", "*confirmatory-packages*"),
    ),
    Source(
        name="hongkong",
        title="Texts about Hong Kong made of randomised snippets, with readers' answers",
        publisher="Harvard Dataverse",
        page="https://doi.org/10.7910/DVN/MVDWCS",
        licence="as its page states",
        citation="Fong and Grimmer (2023). Causal Inference with Latent Treatments. American "
        "Journal of Political Science 67(2), 374-389. doi:10.1111/ajps.12649",
        read_by=("reproductions/cpo/hongkong", "reproductions/causal_preference/latent_positivity"),
        deposit=Dataverse("doi:10.7910/DVN/MVDWCS"),
        files=("*",),
        note="This is the whole replication archive; what is read is the first wave.",
    ),
    Source(
        name="hate_speech",
        title="Measuring Hate Speech: comments with a score by each annotator",
        publisher="Hugging Face",
        page="https://huggingface.co/datasets/ucberkeley-dlab/measuring-hate-speech",
        licence="CC BY 4.0",
        citation="Kennedy, Bacon, Sahn and von Vacano (2020). Constructing interval variables via "
        "faceted Rasch measurement and multitask deep learning: a hate speech application. "
        "arXiv:2009.10277",
        read_by=("reproductions/cpo/hate_speech",),
        deposit=HuggingFace("ucberkeley-dlab/measuring-hate-speech"),
        files=("*.parquet",),
    ),
    Source(
        name="hh_rlhf",
        title="Pairs of answers, the more helpful or more harmless one chosen by people",
        publisher="Hugging Face",
        page="https://huggingface.co/datasets/Anthropic/hh-rlhf",
        licence="MIT",
        citation="Bai et al. (2022). Training a Helpful and Harmless Assistant with Reinforcement "
        "Learning from Human Feedback. arXiv:2204.05862",
        read_by=("reproductions/causal_preference/hh_rlhf",),
        deposit=HuggingFace("Anthropic/hh-rlhf"),
        files=("harmless-base/*.jsonl.gz", "helpful-*/*.jsonl.gz"),
        note="The counterfactual labels are not in it: see hh_rlhf_relabeled.",
    ),
    Source(
        name="ultrafeedback",
        title="UltraFeedback: four answers to a prompt, each rated by aspect",
        publisher="Hugging Face",
        page="https://huggingface.co/datasets/openbmb/UltraFeedback",
        licence="MIT",
        citation="Cui et al. (2023). UltraFeedback: Boosting Language Models with Scaled AI "
        "Feedback. arXiv:2310.01377",
        read_by=("reproductions/causal_preference/latent_positivity --full",),
        deposit=HuggingFace("openbmb/UltraFeedback"),
        files=("*.jsonl",),
        note="Join the files to one: `cat *.jsonl > ultrafeedback.jsonl`.",
    ),
    Source(
        name="stackexchange",
        title="Questions and answers of academia.stackexchange.com, with votes and dates",
        publisher="Internet Archive",
        page="https://archive.org/details/stackexchange",
        licence="CC BY-SA, the version by date",
        citation="Stack Exchange, Inc. Stack Exchange Data Dump. Internet Archive.",
        read_by=("reproductions/deconfoundlm/monday --full",),
        deposit=InternetArchive("stackexchange"),
        files=("academia.stackexchange.com.7z",),
        note="A 7z archive, which is not unpacked; what is read is its Posts.xml.",
    ),
    Source(
        name="hh_rlhf_relabeled",
        title="Counterfactual labels of hh_rlhf: each pair judged under both objectives",
        publisher="the authors, on GitHub",
        page="https://github.com/cassidylaidlaw/hidden-context",
        licence="as its page states",
        citation="Siththaranjan, Laidlaw and Hadfield-Menell (2024). Distributional Preference "
        "Learning: Understanding and Accounting for Hidden Context in RLHF. ICLR.",
        read_by=("reproductions/causal_preference/hh_rlhf",),
        by_hand="its publisher states no checksums",
    ),
    Source(
        name="mind",
        title="MIND: news with categories and what readers clicked",
        publisher="Microsoft",
        page="https://msnews.github.io/",
        licence="Microsoft Research licence",
        citation="Wu et al. (2020). MIND: A Large-scale Dataset for News Recommendation. ACL.",
        read_by=("reproductions/deconfoundlm/mind",),
        by_hand="its publisher wants the licence accepted by a person",
    ),
    Source(
        name="fine_grained_feedback",
        title="Answers with the spans that people marked as wrong, by aspect",
        publisher="the authors, on GitHub",
        page="https://github.com/allenai/FineGrainedRLHF",
        licence="as its page states",
        citation="Wu et al. (2023). Fine-Grained Human Feedback Gives Better Rewards for Language "
        "Model Training. arXiv:2306.01693",
        read_by=("reproductions/causal_preference/latent_positivity",),
        by_hand="its publisher states no checksums",
    ),
    Source(
        name="airbnb",
        title="Listings of a city, with prices and days booked",
        publisher="Inside Airbnb",
        page="https://insideairbnb.com/get-the-data/",
        licence="CC BY 4.0",
        citation="Inside Airbnb. Adding data to the debate.",
        read_by=("docs/tutorials/bristol.md",),
        by_hand="its publisher states no checksums and moves the files with every new date",
    ),
    Source(
        name="pizza_requests",
        title="Random Acts of Pizza: requests to strangers, and whether they were met",
        publisher="the authors",
        page="https://cs.stanford.edu/~althoff/raop-dataset/",
        licence="as its page states",
        citation="Althoff, Danescu-Niculescu-Mizil and Jurafsky (2014). How to Ask for a Favor: A "
        "Case Study on the Success of Altruistic Requests. ICWSM.",
        read_by=("docs/tutorials/pizza.md",),
        by_hand="its publisher states no checksums",
    ),
)

SOURCES: Mapping[str, Source] = MappingProxyType({source.name: source for source in _SOURCES})


def find_source(name: str) -> Source:
    """Return the public original with this name.

    Parameters
    ----------
    name : str
        One of `SOURCES`.

    Returns
    -------
    Source

    Raises
    ------
    SettingsError
        When there is none, with the nearest names.
    """
    if name not in SOURCES:
        raise SettingsError(f"There is no public original named {name!r}; {nearest(name, SOURCES)}")
    return SOURCES[name]
