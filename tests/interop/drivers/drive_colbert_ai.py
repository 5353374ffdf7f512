"""Does with colbert-ai what the tests ask for: a JSON list of [function, arguments]."""

import json
import os
import string
import sys

import numpy as np
import torch
from colbert import Indexer, IndexUpdater, Searcher
from colbert.data import Collection
from colbert.infra import ColBERTConfig, Run, RunConfig
from colbert.modeling.base_colbert import BaseColBERT
from colbert.modeling.colbert import ColBERT
from colbert.search.index_storage import IndexScorer

SPECIAL = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SEARCH = {
    "centroid_score_threshold": -1.0,
    "ndocs": 8192,
}  # with all centroids probed, nothing is pruned


def make_checkpoint(folder, words, dim=32, query_maxlen=16):
    from transformers import BertConfig, BertModel, BertTokenizerFast

    letters = string.ascii_lowercase
    vocabulary = [*SPECIAL, *string.punctuation, *letters, *(f"##{a}" for a in letters), *words]
    base = folder + "-base"
    os.makedirs(base)
    with open(os.path.join(base, "vocab.txt"), "w") as file:
        file.write("\n".join(vocabulary))
    BertTokenizerFast(os.path.join(base, "vocab.txt")).save_pretrained(base)
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=512,
        initializer_range=0.5,  # far larger than BERT's, so that vectors of different tokens differ
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(base)
    settings = ColBERTConfig(dim=dim, query_maxlen=query_maxlen, doc_maxlen=40, checkpoint=base)
    BaseColBERT(base, colbert_config=settings).save(folder)


def build(checkpoint, texts, root, name, nbits, passages_per_chunk):
    # the real rule gives one chunk up to 25,000 passages
    Collection.get_chunksize = lambda self: passages_per_chunk
    settings = {"root": root, "experiment": "tests", "avoid_fork_if_possible": True}
    with Run().context(RunConfig(nranks=1, **settings)):
        config = ColBERTConfig(nbits=nbits, kmeans_niters=4, index_bsize=8, **settings)
        Indexer(checkpoint=checkpoint, config=config, verbose=0).index(name, texts)


def load(index, output):
    """What colbert-ai's own loader makes of an index."""
    scorer = IndexScorer(index, use_gpu=False)
    codec, tokens = scorer.codec, scorer.doclens.sum()  # rows beyond them are uninitialised
    content = type(scorer.embeddings)(
        scorer.embeddings.codes[:tokens], scorer.embeddings.residuals[:tokens]
    )
    np.savez(
        output,
        codes=content.codes,
        residuals=content.residuals,
        lengths=scorer.doclens,
        centroids=codec.centroids,
        cutoffs=codec.bucket_cutoffs,
        weights=codec.bucket_weights,
        ivf=scorer.ivf.tensor,
        ivf_lengths=scorer.ivf.lengths,
        vectors=codec.decompress(content),
    )


def search(index, texts, queries, output, k, checkpoint=None):
    """Search as their users do: by text, with the checkpoint that the index names."""
    searcher = Searcher(index=index, index_root="/", checkpoint=checkpoint, collection=texts)
    searcher.configure(ncells=len(searcher.ranker.codec.centroids), **SEARCH)
    found = [searcher.search(query, k=k) for query in queries]
    np.savez(
        output,
        queries=searcher.encode(queries),
        pids=np.array([pids for pids, _, _ in found]),
        scores=np.array([scores for _, _, scores in found]),
        settings=json.dumps({key: getattr(searcher.config, key) for key in ("dim", "nbits")}),
    )


def search_vectors(index, queries, output):
    """Search by query vectors, without a checkpoint."""
    ColBERT.try_load_torch_extensions(False)  # not use_gpu; else only a model does it
    scorer = IndexScorer(index, use_gpu=False)
    config = ColBERTConfig(query_maxlen=1000, ncells=len(scorer.codec.centroids), **SEARCH)
    vectors = torch.from_numpy(np.load(queries))
    found = [scorer.rank(config, query[None]) for query in vectors]
    np.savez(
        output,
        pids=np.array([pids for pids, _ in found]),
        scores=np.array([scores for _, scores in found]),
    )


def update(index, checkpoint, texts, remove, add):
    searcher = Searcher(index=index, index_root="/", checkpoint=checkpoint, collection=texts)
    updater = IndexUpdater(searcher.config, searcher, checkpoint)
    if remove:
        updater.remove(remove)
    if add:
        updater.add(add)
    updater.persist_to_disk()


if __name__ == "__main__":
    for name, arguments in json.loads(sys.argv[1]):
        globals()[name](**arguments)
