"""Families of kernels by name: libraries, compilers and frameworks that no sample profile has, by their sources' names."""

import pytest

from traces.formats.families import family_of

NAMES = {
    "gemm": """
        ampere_sgemm_128x64_tn
        turing_fp16_s1688gemm_fp16_128x128_ldg8_f2f_tn
        ampere_fp16_s16816gemm_fp16_256x128_ldg8_f2f_stages_64x3_tn
        sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_warpgroupsize1x1x1_execute_segment_k_off_kernel__5x_cublas
        nvjet_tst_192x192_64x4_2x1_v_bz_coopB_bias_TNN
        void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_relu_bf16_256x128_32x3_tn_align8>(Params)
        void cutlass::Kernel<cutlass::gemm::kernel::Gemm<cutlass::gemm::threadblock::MmaMultistage<..., cutlass::layout::NoPermute> > >
        void cutlass::device_kernel<cutlass::gemm::kernel::GemmUniversal<cute::tuple<int>, CollectiveEpilogue<Sm90Reduction>>>
        void gemv2T_kernel_val<int, int, float, float, float, float, 128, 16, 4, 4, false, false, cublasGemvParamsEx<int> >(int)
        void gemvNSP_kernel<float, float, float, float, 1, 32, 4, 1024>
        Cijk_Alik_Bljk_HHS_BH_MT128x128x16_MI32x32x8x1_SN_1LDSB0_APM1
        Custom_Cijk_Alik_Bljk_F8BS_BH_Bias
        void wvSplitK_hf_sml_<__hip_bfloat16, 64, 2, 16, 8, 2, 1>
        void LLGemm1_kernel<c10::Half, 4>
        aiter::fmoe_bf16_blockscaleFp8_g1u1
        aiter::fp8gemm_bf16_blockscale_BpreShuffle_48x128
        ck::kernel_grouped_conv_fwd_multiple_abd_xdl_cshuffle
        igemm_fwd_gtcx_nhwc_fp16_bx0_ex1
        miopenGcnAsmConv1x1U
        triton_tem_fused_addmm_relu_1
        triton_tem_fused_convolution_4
        _matmul_kernel
        matmul_kernel_persistent
        fused_moe_kernel
        void marlin::Marlin<__nv_bfloat16, 1125899907892224l, 256, 1, 8, 8, false>
        void deep_gemm::sm90_fp8_gemm_1d2d_impl<0u, 4096u, 7168u, 1u, 64u>
        bmm_E4m3_E4m3E4m3_Fp32_t128x8x128u2_s6_et64x8_m64x8x32_cga1x1x1_16dp256b
        _w8a8_block_fp8_matmul
        void mul_mat_q<(ggml_type)12, 128, false>
        void mul_mat_vec_q<(ggml_type)2, 1>
        void MatrixMulCUDA<32>(float*, float*, float*, int, int)
        _bmm_chunk_fwd_kernel
        causal_conv1d_fwd_kernel
        void kgemm_4bit_inference_naive<__half, 128, 16>
        void at::native::tinygemm_m16n8k16_chunk_kernel
        cudnn_infer_ampere_scudnn_128x64_relu_medium_nn_v1
        sm80_xmma_fprop_implicit_gemm_tf32f32_tf32f32_f32_nhwckrsc_nchw_tilesize128x128x16_stage4_warpsize2x2x1_g1_tensor16x8x8_kernel_cudnn
        void cudnn::cnn::conv2d_grouped_direct_kernel<false, true, false, false, 0, 0, int, float, float, float, float, float>
        void at::native::(anonymous namespace)::conv_depthwise2d_forward_kernel<3, float, int>
        loop_dot_fusion
        gemm_fusion_dot_12
        _quantized_linear_fp8_kernel
        _grouped_fp4_w13_kernel
        bgmv_shrink_kernel
        _lora_expand_kernel
        _matmul_ogs_NNT_bf16xbf16xmxfp4_16x256x128x1_swiglu
        bmm_E4m3_E2m1E2m1_Fp32_t128x8x512u2_s6_et64x8_m128x8x64_cga1x1x1_16dp256b_TN_transOut_schedS_clmp_swiGlu_dynBatch_sm100f
        __myl_bb1_0_Conv
        cudnn-conv-bias-activation.3
        void cusparse::csrmv_v3_kernel<int, float>
    """,
    "attention": """
        BatchPrefillWithPagedKVCacheKernel
        _gqa_sparse_decode_kernel
        pallas_mha_forward
        _decode_att_m_fwd_kernel
        _decode_softmax_reducev_fwd_kernel
        void flash_fwd_kernel<Flash_fwd_kernel_traits<128, 128, 64, 4, false, false, cutlass::bfloat16_t> >
        void pytorch_flash::flash_bwd_dq_dk_dv_loop_seqk_parallel_kernel<Flash_bwd_kernel_traits<64, 128, 128> >
        void flash::flash_fwd_splitkv_combine_kernel<Flash_fwd_kernel_traits<128, 64, 128, 4> >
        void cutlass::device_kernel<flash::FlashAttnFwdSm90<flash::CollectiveMainloopFwdSm90<2, cute::tuple<cute::C<1> > > > >
        fmha_cutlassB_bf16_aligned_64x64_k64_sm80(PyTorchMemEffAttention::AttentionBackwardKernel<cutlass::bfloat16_t>::Params)
        cudnn_generated_fort_native_sdpa_sm90_knob_6_128x128x128_4x1x1_kernel0_0
        void vllm::paged_attention_v2_reduce_kernel<uint16_t, 128, 128, 512>
        void vllm::merge_attn_states_kernel<unsigned short, 128u>
        void flashinfer::BatchDecodeWithPagedKVCacheKernel<(flashinfer::PosEncodingMode)0, 2u, 4u>
        void flashinfer::PersistentVariableLengthMergeStatesKernel<8u, 16u, 8u, 4u>
        fmhaSm100aKernel_QkvBfloat16OBfloat16H128PagedKvCausalP64VarSeqQ128Kv128PersistentContext
        void mmha::masked_multihead_attention_kernel<unsigned short, 128>
        kernel_mha
        _fwd_kernel
        _fwd_kernel_stage2
        _fwd_grouped_kernel_stage1
        _bwd_kernel_dk_dv
        _attn_fwd
        attn_fwd.kd
        mla_fwd_kernel
        _v4_attention_bwd_kernel
        extend_attention_wmma_n64
        ck_tile::FmhaFwdKernel<ck_tile::BlockFmhaPipelineQRKSVS>
        triton_tem_fused_flex_attention_0
        triton_flex_attention_fwd_0
        flash_attn_tile_ext_f16
        chunk_gated_delta_rule_fwd_kernel_h_blockdim64
        fused_recurrent_gated_delta_rule_fwd_kernel
        _chunk_scan_fwd_kernel
        chunk_fwd_kernel_o
    """,
    "elementwise": """
        void cvt_fp16_to_fp4<__nv_bfloat16>
        void transformer_engine::(anonymous namespace)::gated_act_kernel
        apply_token_bitmask_inplace_kernel
        void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>, at::detail::Array<char*, 3> >(int)
        void at::native::vectorized_elementwise_kernel<4, at::native::silu_kernel(at::TensorIteratorBase&)::{lambda()#1}>
        void at::native::vectorized_elementwise_kernel<4, at::native::GeluCUDAKernelImpl(at::TensorIteratorBase&)::{lambda()#1}>
        void multi_tensor_apply_kernel<TensorListMetadata<4>, AdamFunctor<float, float, int>, float, float>
        void at::native::(anonymous namespace)::distribution_elementwise_grid_stride_kernel<float, 4, at::native::templates::cuda::normal>
        void at::native::triu_tril_kernel<bool, int, true, 8, false>
        void vllm::act_and_mul_kernel<c10::BFloat16, &(c10::BFloat16 vllm::silu_kernel<c10::BFloat16>(c10::BFloat16 const&)), true>
        void flashinfer::activation::act_and_mul_kernel<__nv_bfloat16, &silu>
        void flashinfer::BatchQKApplyRotaryPosIdsCosSinCacheEnhancedKernel<true, 128u>
        void vllm::rotary_embedding_kernel<c10::BFloat16, true>
        per_token_group_quant_8bit_kernel
        triton_poi_fused_add_mul_silu_0
        triton_poi_fused__scaled_dot_product_flash_attention_add_clone_mul_7
        triton_poi_fused_convolution_relu_0
        triton_poi_fused_addmm_gelu_native_layer_norm_2
        _swiglu_forward_kernel
        kOptimizer32bit2State<float, 0>
        quantize_q8_1
        k_bin_bcast
        loop_rng_bit_generator_fusion
        loop_broadcast_multiply_fusion
        void thrust::cuda_cub::core::_kernel_agent<thrust::cuda_cub::__parallel_for::ParallelForAgent<int> >
        void cub::CUB_300001_SM_900::detail::for_each::static_kernel<cub::policy_hub_t>
        void cub::detail::transform::transform_kernel<cub::policy>
        void Eigen::internal::EigenMetaKernel<Eigen::TensorEvaluator<Eigen::TensorAssignOp> >
        AddV2_GPU_DT_FLOAT_DT_FLOAT_kernel
        Op2dTensorGeneric
        __myl_MulAdd_0x1f2e
        void axpy_kernel_val<float, float>
    """,
    "reduce": """
        _decode_index_score
        void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float, at::native::func_wrapper_t<float, sum_functor> > >
        void (anonymous namespace)::softmax_warp_forward<float, float, float, 8, false, false>(float*, float const*, int, int, int)
        void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<c10::BFloat16, float, false>(int, float)
        void at::native::(anonymous namespace)::GammaBetaBackwardCUDAKernelTemplate<c10::BFloat16, float>
        void multi_tensor_apply_kernel<TensorListMetadata<1>, L2NormFunctor<float>, float*, float*, bool, int>
        void cudnn::bn_fw_tr_1C11_kernel_NCHW<float, float, int, 512, true, 1, true>
        void vllm::fused_add_rms_norm_kernel<c10::BFloat16, 8>
        void flashinfer::norm::FusedAddRMSNormKernel<8u, __nv_bfloat16>
        void flashinfer::sampling::OnlineSoftmaxFusedKernel<1024u, 4u>
        _ZN5aiter24add_rmsnorm_quant_kernelIDF16bDF16bLi256ELi32ELb0ELb0ELb1ELi1EEEvPT0_PT_PfS4_S4_S4_diiiiiiib
        void cublasLt::splitKreduce_kernel<32, 16, int, float, __half, float, __half, false, true, false>
        Cijk_SS_BiasS_HAS_ScaleAlphaVec_PostGSU16_VW1
        triton_red_fused__to_copy_add_embedding_mean_mul_pow_rsqrt_0
        triton_per_fused_native_layer_norm_3
        input_reduce_fusion_3
        void cub::DeviceReduceKernel<cub::DeviceReducePolicy<float> >
        void at_cuda_detail::cub::DeviceScanInitKernel<at_cuda_detail::cub::ScanTileState<int, true> >
        soft_max_f32
        rms_norm_f32<1024>
        void cuComputeGradInput<float, float, c10::Half>
        _rms_norm_fwd_fused
        liger_cross_entropy_kernel
        selective_scan_fwd_kernel
        void tensorrt_llm::kernels::finalizeMoeRoutingKernel<__nv_bfloat16>
    """,
    "sort": """
        void TopPSamplingFromProbKernel
        void at::native::sbtopk::gatherTopK<float, unsigned int, 2, false>
        void at_cuda_detail::cub::DeviceRadixSortOnesweepKernel<at_cuda_detail::cub::DeviceRadixSortPolicy<float> >
        void thrust::cuda_cub::core::_kernel_agent<thrust::cuda_cub::__merge_sort::MergeAgent<int> >
        void vllm::moe::moe_align_block_size_kernel<int>
        void flashinfer::sampling::TopKTopPSamplingFromProbKernel<1024u>
        void tensorrt_llm::kernels::topk_stage_1<float, 128, 8>
        routingIndicesClusterKernel
        argsort_f32_i32
    """,
    "gather_scatter": """
        store_kvcache_kernel
        fusedMiniMaxM3QNormRopeKVInsert
        void at::native::(anonymous namespace)::indexSelectLargeIndex<c10::Half, long, unsigned int, 2, 2, -2, true>
        void at::native::vectorized_gather_kernel<16, long>(char*, char*, long*, int, long, long, long, long, bool)
        void at::native::index_elementwise_kernel<128, 4, at::native::gpu_index_kernel<at::native::index_kernel_impl> >
        void at_cuda_detail::cub::DeviceSelectSweepKernel<at_cuda_detail::cub::AgentSelectIfPolicy>
        void at::native::(anonymous namespace)::write_indices<int>
        void vllm::reshape_and_cache_flash_kernel<__nv_bfloat16, __nv_bfloat16, (vllm::Fp8KVCacheDataType)0>
        write_req_to_token_pool_triton
        create_flashinfer_kv_indices_triton
        triton_poi_fused_embedding_1
        void tensorrt_llm::kernels::expandInputRowsKernel<__nv_bfloat16>
        k_get_rows_float<float, float>
        input_scatter_fusion
    """,
    "slice_concat": """
        void at::native::(anonymous namespace)::CatArrayBatchedCopy_aligned16_contig<at::native::OpaqueType<2u>, unsigned int, 3>
        triton_poi_fused_cat_5
        loop_dynamic_update_slice_fusion
        wrapped_slice
        input_concatenate_fusion
        void at::native::flip_cuda_kernel<float>
    """,
    "transpose": """
        void marlin::gptq_marlin_repack_kernel<256, 4>
        void cudnn::ops::nchwToNhwcKernel<__half, __half, float, false, true, (cudnnKernelDataType_t)0>
        void nchwToFoldedNhwcKernel<__half, __half, float, true, (cudnnKernelDataType_t)0>
        batched_transpose_32x32_dword.kd
        void genericReformat::copyPackedKernel<float, float, true, true>
        void tensorflow::functor::ShuffleInTensor3Simple<float, 2, 1, 0, false>
        MIOpen_Im2d2Col
        wrapped_transpose
        loop_transpose_fusion
    """,
    "copy": """
        void at::native::unrolled_elementwise_kernel<at::native::direct_copy_kernel_cuda(at::TensorIteratorBase&)::{lambda()#3}>
        void at::native::vectorized_elementwise_kernel<4, at::native::bfloat16_copy_kernel_cuda(at::TensorIteratorBase&)::{lambda(float)#1}>
        __amd_rocclr_copyBuffer
        __amd_rocclr_fillBufferAligned
        triton_poi_fused_clone_3
        cpy_f32_f16
        wrapped_copy
    """,
    "lu": """
        void getf2_cta_32x32<float, float, 5>
        void batch_getrf_semiwarp<double, 8>
        lu_pivots_to_permutation
    """,
    "triangular_solve": """
        void trsm_batch_left_kernel<double, 256, 4, false, false, false, true, false>
        triangular-solve.4
        solve_tril_16x16_kernel
    """,
    "other": """
        ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)
        ncclDevKernel_Broadcast_RING_LL(ncclDevKernelArgsStorage<4096ul>)
        void flashinfer::trtllm_allreduce_fusion::allreduce_fusion_kernel_oneshot_lamport<0>
        mscclKernel_Sum_half_LL
        void vector_fft<512u, EPT<16u> >
        potrf_batch_kernel
        what_is_this
    """,
}


@pytest.mark.parametrize(
    ("family", "name"), [(family, name.strip()) for family, names in NAMES.items() for name in names.strip().split("\n")]
)
def test_families_of_libraries_compilers_and_frameworks(family: str, name: str) -> None:
    assert family_of(name) == family
